-- id: iqr_fence
-- severity: warn
-- why: the change since the previous run is larger than the changes that this benchmark usually makes
-- param: run string
WITH now AS (
  SELECT history_id, bench_id, metric, direction, median(value) AS value, min(commit_time) AS commit_time, min(started_at) AS started_at
  FROM results WHERE run_id = $run AND status = 'ok' AND direction <> 0 AND side IN ('solo', 'cand')
  GROUP BY history_id, bench_id, metric, direction),
past AS (
  SELECT s.history_id, s.run_id, min(s.commit_time) AS commit_time, min(s.started_at) AS started_at, median(s.value) AS value
  FROM series s JOIN now n ON n.history_id = s.history_id
  WHERE s.side <> 'base' AND s.run_id <> $run
    AND (s.commit_time < n.commit_time OR s.commit_time = n.commit_time AND s.started_at < n.started_at)
  GROUP BY s.history_id, s.run_id),
steps AS (
  SELECT history_id, value, abs(value / nullif(lag(value) OVER w, 0.0) - 1) AS change,
         row_number() OVER (PARTITION BY history_id ORDER BY commit_time DESC, started_at DESC, run_id DESC) AS age
  FROM past WINDOW w AS (PARTITION BY history_id ORDER BY commit_time, started_at, run_id)),
fence AS (
  SELECT history_id, max(value) FILTER (WHERE age = 1) AS previous, count(change) AS change_count,
         percentile_cont(change, 0.75) AS q3, percentile_cont(change, 0.25) AS q1
  FROM steps GROUP BY history_id),
judged AS (
  SELECT n.bench_id, n.metric, f.previous AS base, n.value AS cand, -n.direction * (n.value / nullif(f.previous, 0.0) - 1) AS rel,
         greatest(0.002, f.q3 + 3 * (f.q3 - f.q1)) AS fence
  FROM now n JOIN fence f ON f.history_id = n.history_id WHERE f.change_count >= 10)
SELECT bench_id, metric, base, cand, rel, fence, concat('a change of ', round(100 * rel, 1), ' % is outside its usual range') AS message
FROM judged WHERE rel > fence ORDER BY rel DESC, bench_id, metric
