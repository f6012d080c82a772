-- How did the three headline figures change from release to release?
WITH headline AS (
  SELECT tags['git_tag'] AS git_tag, min(commit_time) AS commit_time,
         median(value) FILTER (WHERE bench_id = 'weight_dynamics/convergence/512' AND metric = 'wall_ns') / 1e6 AS weight_dynamics_ms,
         median(value) FILTER (WHERE bench_id = 'compression_performance/mixed/0.5' AND metric = 'saved_ratio') AS compression_ratio,
         median(value) FILTER (WHERE bench_id = 'storage_performance/mixed/1kb' AND metric = 'wall_ns') / 1e6 AS storage_ms
  FROM results
  WHERE tags['git_tag'] IS NOT NULL AND status = 'ok' AND NOT git_dirty AND side IN ('solo', 'cand') AND env_id = this_env()
    AND (bench_id = 'weight_dynamics/convergence/512' AND metric = 'wall_ns'
      OR bench_id = 'compression_performance/mixed/0.5' AND metric = 'saved_ratio'
      OR bench_id = 'storage_performance/mixed/1kb' AND metric = 'wall_ns')
  GROUP BY tags['git_tag']),
oldest AS (SELECT * FROM headline ORDER BY commit_time, git_tag LIMIT 1)
SELECT h.git_tag, h.weight_dynamics_ms, h.weight_dynamics_ms / nullif(o.weight_dynamics_ms, 0.0) - 1 AS weight_dynamics_change,
       h.compression_ratio, h.compression_ratio / nullif(o.compression_ratio, 0.0) - 1 AS compression_change,
       h.storage_ms, h.storage_ms / nullif(o.storage_ms, 0.0) - 1 AS storage_change,
       exp((ln(o.weight_dynamics_ms / nullif(h.weight_dynamics_ms, 0.0))
          + ln(h.compression_ratio / nullif(o.compression_ratio, 0.0))
          + ln(o.storage_ms / nullif(h.storage_ms, 0.0))) / 3) - 1 AS overall
FROM headline h CROSS JOIN oldest o ORDER BY h.commit_time, h.git_tag
