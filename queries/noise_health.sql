-- Which benchmarks cannot be trusted on this machine?
WITH points AS (
  SELECT history_id, bench_id, metric, run_id, min(commit_time) AS commit_time, min(started_at) AS started_at, median(value) AS value,
         avg(stddev / nullif(mean, 0.0)) AS within_cv, avg(load1) AS load1, avg(steal_ms) AS steal_ms
  FROM series
  WHERE env_id = this_env() AND side <> 'base' AND metric IN ('wall_ns', 'cpu_ns', 'throughput')
  GROUP BY history_id, bench_id, metric, run_id),
steps AS (
  SELECT *, value / nullif(lag(value) OVER (PARTITION BY history_id ORDER BY commit_time, started_at, run_id), 0.0) AS ratio FROM points),
noise AS (
  SELECT bench_id, metric, count(*) AS run_count, sqrt(avg(power(ln(CASE WHEN ratio > 0 THEN ratio END), 2)) / 2) AS between_run_cv,
         avg(within_cv) AS within_run_cv, avg(load1) AS load1, avg(steal_ms) AS steal_ms
  FROM steps GROUP BY history_id, bench_id, metric)
SELECT bench_id, metric, run_count, between_run_cv, within_run_cv, load1, steal_ms,
       CASE WHEN run_count < 5 THEN 'too few runs' WHEN between_run_cv <= 0.10 THEN 'stable' ELSE 'unstable' END AS state
FROM noise ORDER BY between_run_cv DESC NULLS LAST, bench_id, metric
