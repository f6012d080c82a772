-- What do the slowest calls of run $run cost, from the raw samples?
-- param: run string
WITH observed AS (
  SELECT bench_id, side, unnest("values") AS v FROM samples WHERE run_id = $run AND metric = 'wall_ns'),
middle AS (SELECT bench_id, side, v, median(v) OVER (PARTITION BY bench_id, side) AS typical FROM observed)
SELECT bench_id, side, count(*) AS sample_count, percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS p50,
       CASE WHEN count(*) >= 100 THEN percentile_cont(0.9) WITHIN GROUP (ORDER BY v) END AS p90,
       CASE WHEN count(*) >= 1000 THEN percentile_cont(0.99) WITHIN GROUP (ORDER BY v) END AS p99,
       CASE WHEN count(*) >= 10000 THEN percentile_cont(0.999) WITHIN GROUP (ORDER BY v) END AS p999,
       max(v) AS max, count(*) FILTER (WHERE v > 10 * typical) AS stall_count
FROM middle GROUP BY bench_id, side ORDER BY bench_id, side
