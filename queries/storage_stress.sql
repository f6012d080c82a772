-- How fast was each storage operation of run $run, how durable, and do its figures fit together (Little's law)?
-- param: run string
WITH rows AS (
  SELECT attempt, side, bench_id, durability, metric, value, mean, p99, CAST(params['clients'] AS DOUBLE) AS clients,
         coalesce(CAST(params['batch'] AS DOUBLE), 1.0) AS batch
  FROM results WHERE run_id = $run AND suite = 'storage' AND status = 'ok')
SELECT l.bench_id AS operation, l.durability, l.value / 1e3 AS p50_us, l.p99 / 1e3 AS p99_us, t.value AS per_second,
       coalesce(t.mean, t.value) * coalesce(l.mean, l.value) / 1e9 / l.batch AS implied_clients, l.clients
FROM rows l JOIN rows t ON t.attempt = l.attempt AND t.side = l.side AND t.bench_id = l.bench_id
WHERE l.metric = 'wall_ns' AND t.metric = 'throughput' ORDER BY operation, l.durability, l.side, l.attempt
