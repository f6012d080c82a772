-- id: memory_slope
-- severity: error
-- why: memory of a soak run grows by more than 1 MB an hour
-- param: run string
-- param: limit_bytes_per_hour double 1000000
-- undecided: verdict
WITH soaked AS (
  SELECT attempt, side, bench_id, metric, status, error FROM results
  WHERE run_id = $run AND bench_id LIKE 'soak/%' AND metric LIKE 'rss%' AND side IN ('solo', 'cand')),
observed AS (
  SELECT bench_id, metric, attempt, side, CAST(unnest(iters) AS DOUBLE) AS elapsed_ms, unnest("values") AS bytes
  FROM samples WHERE run_id = $run AND bench_id LIKE 'soak/%' AND metric LIKE 'rss%' AND side IN ('solo', 'cand')),
placed AS (
  SELECT *, floor(elapsed_ms * 1000 / nullif(max(elapsed_ms) OVER (PARTITION BY bench_id, metric, attempt, side), 0.0)) AS bin FROM observed),
points AS (
  SELECT bench_id, metric, attempt, side, avg(elapsed_ms) / 3600000.0 AS hours, median(bytes) AS bytes
  FROM placed GROUP BY bench_id, metric, attempt, side, bin),
line AS (
  SELECT bench_id, metric, attempt, side, theil_sen(hours, bytes) AS t, count(*) AS point_count
  FROM points GROUP BY bench_id, metric, attempt, side),
judged AS (
  SELECT s.bench_id, s.metric, s.status, s.error, t['slope'] AS slope, t['low'] AS low, t['high'] AS high, coalesce(point_count, 0) AS point_count,
         CASE WHEN s.status IN ('failed', 'timeout') THEN 'regression'
              WHEN s.status = 'skipped' OR coalesce(point_count, 0) < 10 THEN 'cannot_tell'
              WHEN t['slope'] > $limit_bytes_per_hour AND t['low'] > 0 THEN 'regression'
              WHEN t['slope'] > $limit_bytes_per_hour THEN 'cannot_tell'
              ELSE 'no_change' END AS verdict
  FROM soaked s LEFT JOIN line l ON l.bench_id = s.bench_id AND l.metric = s.metric AND l.attempt = s.attempt AND l.side = s.side)
SELECT bench_id, metric, $limit_bytes_per_hour AS base, slope AS cand, low, high, verdict,
       CASE WHEN status <> 'ok' THEN concat(status, ': ', error)
            WHEN point_count < 10 THEN concat('too few observations to tell: ', point_count)
            ELSE concat(round(slope / 1e6, 2), ' MB an hour, between ', round(low / 1e6, 2), ' and ', round(high / 1e6, 2)) END AS message
FROM judged WHERE verdict <> 'no_change' ORDER BY verdict DESC, slope DESC, bench_id, metric
