-- Which promises are met, not met, not measured here?
WITH promised AS (SELECT DISTINCT bench_id, metric FROM targets),
latest AS (
  SELECT r.bench_id, r.metric, r.unit, r.status, r.run_id, r.value, r.mean, r.p90, r.p95, r.p99, r.p999, r.max, r.ci_low,
         row_number() OVER (PARTITION BY r.bench_id, r.metric ORDER BY r.started_at DESC, r.attempt DESC) AS age
  FROM results r JOIN promised p ON p.bench_id = r.bench_id AND p.metric = r.metric
  WHERE r.status <> 'skipped' AND r.side IN ('solo', 'cand') AND r.env_id = this_env()),
joined AS (
  SELECT t.target_id, t.seed, t.kind, t.bench_id, t.metric, t.statistic, t.op, t.bound, t.unit, l.run_id,
         l.unit AS measured_unit, l.status AS ended,
         CASE t.statistic WHEN 'median' THEN l.value WHEN 'mean' THEN l.mean WHEN 'p90' THEN l.p90 WHEN 'p95' THEN l.p95
                          WHEN 'p99' THEN l.p99 WHEN 'p999' THEN l.p999 WHEN 'max' THEN l.max WHEN 'ci_low' THEN l.ci_low
         END AS actual
  FROM targets t LEFT JOIN latest l ON l.bench_id = t.bench_id AND l.metric = t.metric AND l.age = 1)
SELECT target_id, seed, kind, bench_id, metric, statistic, op, bound, unit, actual, run_id,
       CASE WHEN ended <> 'ok' THEN 'not met'
            WHEN actual IS NULL THEN 'not measured here'
            WHEN measured_unit <> unit THEN 'unit differs'
            WHEN op = '<=' AND actual <= bound OR op = '<' AND actual < bound
              OR op = '>=' AND actual >= bound OR op = '>' AND actual > bound THEN 'met'
            ELSE 'not met' END AS status
FROM joined ORDER BY status, target_id
