-- id: iqr_fence
-- severity: warn
-- why: the change since the previous run is larger than those that this benchmark made in the last 100 runs
-- param: run string
WITH now AS (
  SELECT history_id, bench_id, metric, direction, median(value) AS value, min(commit_time) AS commit_time, min(started_at) AS started_at,
         row_number() OVER (ORDER BY history_id) AS place
  FROM results WHERE run_id = $run AND status = 'ok' AND direction <> 0 AND side IN ('solo', 'cand')
  GROUP BY history_id, bench_id, metric, direction),
past AS (
  SELECT n.place, s.value, dense_rank() OVER (PARTITION BY n.place ORDER BY s.commit_time DESC, s.run_id DESC) AS age
  FROM series s JOIN now n ON n.history_id = s.history_id
  WHERE s.side <> 'base' AND s.run_id <> $run
    AND (s.commit_time < n.commit_time OR s.commit_time = n.commit_time AND s.started_at < n.started_at)),
recent AS (SELECT place, age, median(value) AS value FROM past WHERE age <= 101 GROUP BY place, age),
steps AS (
  SELECT place, age, value, abs(value / nullif(lag(value) OVER (PARTITION BY place ORDER BY age DESC), 0.0) - 1) AS change FROM recent),
fence AS (
  SELECT place, max(value) FILTER (WHERE age = 1) AS previous, count(change) AS change_count,
         percentile_cont(change, 0.75) AS q3, percentile_cont(change, 0.25) AS q1
  FROM steps GROUP BY place),
judged AS (
  SELECT n.bench_id, n.metric, f.previous AS base, n.value AS cand, -n.direction * (n.value / nullif(f.previous, 0.0) - 1) AS rel,
         greatest(0.002, f.q3 + 3 * (f.q3 - f.q1)) AS fence
  FROM now n JOIN fence f ON f.place = n.place WHERE f.change_count >= 10)
SELECT bench_id, metric, base, cand, rel, fence, concat('a change of ', round(100 * rel, 1), ' % is outside its usual range') AS message
FROM judged WHERE rel > fence ORDER BY rel DESC, bench_id, metric
