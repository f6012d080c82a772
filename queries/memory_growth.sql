-- Does memory grow in soak runs?
WITH observed AS (
  SELECT run_id, bench_id, metric, attempt, CAST(unnest(iters) AS DOUBLE) AS elapsed_ms, unnest("values") AS bytes
  FROM samples WHERE bench_id LIKE 'soak/%' AND metric LIKE 'rss%' AND side IN ('solo', 'cand')),
placed AS (
  SELECT *, floor(elapsed_ms * 1000 / nullif(max(elapsed_ms) OVER (PARTITION BY run_id, bench_id, metric, attempt), 0.0)) AS bin FROM observed),
points AS (
  SELECT run_id, bench_id, metric, attempt, avg(elapsed_ms) / 3600000.0 AS hours, median(bytes) AS bytes
  FROM placed GROUP BY run_id, bench_id, metric, attempt, bin),
line AS (
  SELECT run_id, bench_id, metric, attempt, theil_sen(hours, bytes) AS t, max(hours) AS hours, count(*) AS point_count
  FROM points GROUP BY run_id, bench_id, metric, attempt)
SELECT run_id, bench_id, metric, t['slope'] AS slope_bytes_per_hour, t['low'] AS low, t['high'] AS high, hours, point_count
FROM line ORDER BY run_id, bench_id, metric, attempt
