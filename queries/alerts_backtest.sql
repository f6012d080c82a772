-- How often would each alert have fired?
WITH breach AS (
  SELECT run_id, at, 'compile_slow' AS rule, CAST(value > 1.0 AS INT) AS bad, 300 AS hold_s FROM scrapes WHERE signal = 'compile_seconds_p99'
  UNION ALL SELECT run_id, at, 'convergence_long', CAST(value > 150 AS INT), 0 FROM scrapes WHERE signal = 'convergence_iterations_max_10m'
  UNION ALL SELECT run_id, at, 'storage_slow', CAST(value > 0.010 AS INT), 300 FROM scrapes WHERE signal = 'storage_seconds_p99'
  UNION ALL SELECT run_id, at, 'memory_high', CAST(value > 0.90 AS INT), 120 FROM scrapes WHERE signal = 'memory_used_ratio'
  UNION ALL SELECT h.run_id, h.at, 'cache_cold', CAST(h.value < 0.80 AND n.value > 100 AS INT), 0
            FROM scrapes h JOIN scrapes n ON n.run_id = h.run_id AND n.at = h.at AND n.signal = 'cache_lookups_10m'
            WHERE h.signal = 'cache_hit_ratio_10m'),
held AS (
  SELECT *, min(bad) OVER (PARTITION BY run_id, rule ORDER BY at RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW) AS held_5m,
            min(bad) OVER (PARTITION BY run_id, rule ORDER BY at RANGE BETWEEN INTERVAL '2 minutes' PRECEDING AND CURRENT ROW) AS held_2m,
            min(at) OVER (PARTITION BY run_id, rule) AS began_at
  FROM breach),
firing AS (
  SELECT *, CASE WHEN hold_s = 300 THEN CASE WHEN at >= began_at + INTERVAL '5 minutes' THEN held_5m ELSE 0 END
                 WHEN hold_s = 120 THEN CASE WHEN at >= began_at + INTERVAL '2 minutes' THEN held_2m ELSE 0 END
                 ELSE bad END AS firing
  FROM held),
edges AS (SELECT *, coalesce(lag(firing) OVER (PARTITION BY run_id, rule ORDER BY at), 0) AS before FROM firing)
SELECT rule, count(*) FILTER (WHERE firing = 1 AND before = 0) AS fired_count,
       min(at) FILTER (WHERE firing = 1) AS first_at, max(at) FILTER (WHERE firing = 1) AS last_at
FROM edges GROUP BY rule ORDER BY rule
