-- id: mann_whitney
-- severity: warn
-- why: two solo runs of one machine differ by more than 2 % and z above 3.29 (one run each has many false alarms, so it warns only)
-- param: run string
-- param: base_run string previous
WITH judged AS (
  SELECT attempt, side, bench_id, metric, direction, history_id, env_id, started_at
  FROM results WHERE run_id = $run AND status = 'ok' AND direction <> 0 AND side = 'solo'),
chosen AS (
  SELECT r.run_id, max(r.started_at) AS started_at
  FROM series r JOIN judged j ON j.history_id = r.history_id
  WHERE r.side = 'solo' AND r.run_id <> $run
    AND (r.run_id = $base_run OR $base_run = 'previous' AND r.started_at < j.started_at)
  GROUP BY r.run_id ORDER BY started_at DESC, run_id DESC LIMIT 1),
two AS (
  SELECT j.bench_id, j.metric, j.direction, true AS is_cand, unnest(s."values") AS v
  FROM samples s JOIN judged j ON j.attempt = s.attempt AND j.side = s.side AND j.bench_id = s.bench_id AND j.metric = s.metric
  WHERE s.run_id = $run
  UNION ALL
  SELECT j.bench_id, j.metric, j.direction, false AS is_cand, unnest(s."values") AS v
  FROM samples s JOIN chosen c ON c.run_id = s.run_id
  JOIN judged j ON j.bench_id = s.bench_id AND j.metric = s.metric AND j.attempt = s.attempt WHERE s.side = 'solo'),
ranked AS (
  SELECT bench_id, metric, direction, is_cand, v,
         rank() OVER (PARTITION BY bench_id, metric ORDER BY v) + (count(*) OVER (PARTITION BY bench_id, metric, v) - 1) / 2.0 AS r
  FROM two),
sums AS (
  SELECT bench_id, metric, direction, sum(CASE WHEN is_cand THEN r END) AS rank_sum,
         CAST(count(*) FILTER (WHERE is_cand) AS DOUBLE) AS nc, CAST(count(*) FILTER (WHERE NOT is_cand) AS DOUBLE) AS nb,
         median(v) FILTER (WHERE is_cand) AS cand, median(v) FILTER (WHERE NOT is_cand) AS base
  FROM ranked GROUP BY bench_id, metric, direction),
scored AS (
  SELECT *, -direction * (cand - base) / nullif(abs(base), 0.0) AS rel,
         -direction * (rank_sum - nc * (nc + 1) / 2.0 - nb * nc / 2.0) / sqrt(nb * nc * (nb + nc + 1) / 12.0) AS z
  FROM sums WHERE nb >= 4 AND nc >= 4)
SELECT bench_id, metric, base, cand, rel, z,
       concat('worse by ', CASE WHEN rel IS NULL THEN 'a change from 0' ELSE concat(round(100 * rel, 1), ' %') END, ', z = ', round(z, 1)) AS message
FROM scored WHERE z > 3.29 AND (rel > 0.02 OR rel IS NULL) ORDER BY rel DESC, bench_id, metric
