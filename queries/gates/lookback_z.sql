-- id: lookback_z
-- severity: warn
-- why: the value is far from those of the last 20 runs, or the benchmark has none although it had them
-- param: run string
-- param: z double 5
WITH now AS (
  SELECT history_id, bench_id, metric, direction, median(value) AS value, bool_and(status = 'ok') AS is_ok, min(error) AS error,
         min(commit_time) AS commit_time, min(started_at) AS started_at, row_number() OVER (ORDER BY history_id) AS place
  FROM results WHERE run_id = $run AND status <> 'skipped' AND direction <> 0 AND side IN ('solo', 'cand')
  GROUP BY history_id, bench_id, metric, direction),
past AS (
  SELECT n.place, s.value, dense_rank() OVER (PARTITION BY n.place ORDER BY s.commit_time DESC, s.run_id DESC) AS age
  FROM series s JOIN now n ON n.history_id = s.history_id
  WHERE s.side <> 'base' AND s.run_id <> $run
    AND (s.commit_time < n.commit_time OR s.commit_time = n.commit_time AND s.started_at < n.started_at)),
recent AS (SELECT place, age, median(value) AS value FROM past WHERE age <= 20 GROUP BY place, age),
usual AS (
  SELECT place, avg(value) AS m, greatest(stddev(value), abs(avg(value)) * 0.001) AS sd, count(*) AS run_count
  FROM recent GROUP BY place),
judged AS (
  SELECT n.bench_id, n.metric, u.m AS base, n.value AS cand, -n.direction * (n.value / nullif(u.m, 0.0) - 1) AS rel, n.is_ok, n.error,
         CASE WHEN u.sd > 0 THEN -n.direction * (n.value - u.m) / u.sd
              WHEN -n.direction * (n.value - u.m) > 0 THEN 1e9 ELSE 0.0 END AS z, u.run_count
  FROM now n JOIN usual u ON u.place = n.place WHERE u.run_count >= 8)
SELECT bench_id, metric, base, CASE WHEN is_ok THEN cand END AS cand, CASE WHEN is_ok THEN rel END AS rel, CASE WHEN is_ok THEN z END AS z,
       CASE WHEN is_ok THEN concat('z = ', round(z, 1), ' against the last ', run_count, ' runs')
            ELSE concat('no value: ', error) END AS message
FROM judged WHERE NOT is_ok OR z > $z ORDER BY z DESC, bench_id, metric
