-- How does run $b compare with run $a, metric by metric?
-- param: a string
-- param: b string
WITH rows AS (
  SELECT run_id, bench_id, metric, min(direction) AS direction, min(history_id) AS history_id, min(env_id) AS env_id,
         median(value) AS value, bool_and(status = 'ok') AS is_ok
  FROM results WHERE run_id IN ($a, $b) AND side IN ('solo', 'cand') GROUP BY run_id, bench_id, metric),
observed AS (
  SELECT bench_id, metric, CASE WHEN run_id = $a THEN 'base' ELSE 'cand' END AS side, unnest("values") AS v
  FROM samples WHERE run_id IN ($a, $b) AND side IN ('solo', 'cand')),
ranked AS (
  SELECT bench_id, metric, mann_whitney(v, side) AS t, count(*) FILTER (WHERE side = 'base') AS base_count,
         count(*) FILTER (WHERE side = 'cand') AS cand_count
  FROM observed GROUP BY bench_id, metric),
joined AS (
  SELECT coalesce(l.bench_id, r.bench_id) AS bench_id, coalesce(l.metric, r.metric) AS metric,
         coalesce(l.direction, r.direction) AS direction, l.env_id <> r.env_id AS is_elsewhere,
         l.history_id <> r.history_id AS is_other_work, l.is_ok AS a_ok, r.is_ok AS b_ok, l.value AS a, r.value AS b
  FROM (SELECT * FROM rows WHERE run_id = $a) l
  FULL JOIN (SELECT * FROM rows WHERE run_id = $b) r ON r.bench_id = l.bench_id AND r.metric = l.metric),
scored AS (
  SELECT j.*, CASE WHEN j.direction = 0 THEN 1 ELSE -j.direction END * (j.b - j.a) / nullif(abs(j.a), 0.0) AS rel,
         -j.direction * t['z'] AS z, base_count >= 4 AND cand_count >= 4 AS has_samples
  FROM joined j LEFT JOIN ranked k ON k.bench_id = j.bench_id AND k.metric = j.metric)
SELECT bench_id, metric, a, b, rel, z,
       CASE WHEN a_ok IS NULL THEN 'only in b' WHEN b_ok IS NULL THEN 'only in a'
            WHEN NOT b_ok THEN 'failed in b' WHEN NOT a_ok THEN 'failed in a'
            WHEN is_elsewhere THEN 'other machine' WHEN is_other_work THEN 'other parameters'
            WHEN direction = 0 THEN 'information'
            WHEN a = b AND coalesce(z, 0.0) = 0.0 THEN 'equal'
            WHEN NOT coalesce(has_samples, false) THEN 'cannot tell'
            WHEN z > 3.29 AND rel > 0.02 THEN 'worse' WHEN z < -3.29 AND rel < -0.02 THEN 'better'
            ELSE 'no difference found' END AS verdict
FROM scored ORDER BY rel DESC NULLS LAST, bench_id, metric
