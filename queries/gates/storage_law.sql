-- id: storage_law
-- severity: error
-- why: throughput, latency and the number of clients of a storage row contradict each other (Little's law, 15 %)
-- param: run string
-- undecided: verdict
WITH rows AS (
  SELECT attempt, side, bench_id, metric, value, mean, CAST(params['clients'] AS DOUBLE) AS clients,
         coalesce(CAST(params['batch'] AS DOUBLE), 1.0) AS batch
  FROM results WHERE run_id = $run AND suite = 'storage' AND status = 'ok'),
law AS (
  SELECT l.bench_id, l.side, l.clients, coalesce(t.mean, t.value) * coalesce(l.mean, l.value) / 1e9 / nullif(l.batch, 0.0) AS implied
  FROM rows l JOIN rows t ON t.attempt = l.attempt AND t.side = l.side AND t.bench_id = l.bench_id
  WHERE l.metric = 'wall_ns' AND t.metric = 'throughput'),
judged AS (
  SELECT *, implied / nullif(clients, 0.0) - 1 AS rel FROM law)
SELECT bench_id, 'throughput' AS metric, side, clients AS base, implied AS cand, rel,
       CASE WHEN rel IS NULL THEN 'cannot_tell' ELSE 'regression' END AS verdict,
       CASE WHEN rel IS NULL THEN concat('implies ', round(implied, 2), ' clients and does not say how many there were')
            ELSE concat('implies ', round(implied, 2), ' clients, there were ', clients) END AS message
FROM judged WHERE rel IS NULL OR abs(rel) > 0.15 ORDER BY verdict DESC, abs(rel) DESC, bench_id, side
