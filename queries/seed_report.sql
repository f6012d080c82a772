-- How does every figure of one seed document stand: metric, target, actual, status?
-- param: seed string ruvdllm
WITH promised AS (SELECT DISTINCT bench_id, metric FROM targets WHERE seed = $seed),
latest AS (
  SELECT r.bench_id, r.metric, r.unit, r.status, r.value, r.mean, r.p90, r.p95, r.p99, r.p999, r.max, r.ci_low,
         row_number() OVER (PARTITION BY r.bench_id, r.metric ORDER BY r.started_at DESC, r.attempt DESC) AS age
  FROM results r JOIN promised p ON p.bench_id = r.bench_id AND p.metric = r.metric
  WHERE r.status <> 'skipped' AND r.side IN ('solo', 'cand') AND r.env_id = this_env()),
joined AS (
  SELECT t.target_id, t.section, t.kind, t.bench_id, t.statistic, t.op, t.bound, t.unit, l.unit AS measured_unit, l.status AS ended,
         CASE t.statistic WHEN 'median' THEN l.value WHEN 'mean' THEN l.mean WHEN 'p90' THEN l.p90 WHEN 'p95' THEN l.p95
                          WHEN 'p99' THEN l.p99 WHEN 'p999' THEN l.p999 WHEN 'max' THEN l.max WHEN 'ci_low' THEN l.ci_low
         END AS actual
  FROM targets t LEFT JOIN latest l ON l.bench_id = t.bench_id AND l.metric = t.metric AND l.age = 1
  WHERE t.seed = $seed)
SELECT concat(section, ': ', bench_id, ' ', statistic, CASE kind WHEN 'seed' THEN '' ELSE concat(' (', kind, ')') END) AS metric,
       concat(op, ' ', bound, ' ', unit) AS target,
       CASE WHEN actual IS NULL THEN '-' ELSE concat(round(actual, 4), ' ', measured_unit) END AS actual,
       CASE WHEN ended <> 'ok' THEN 'not met'
            WHEN actual IS NULL THEN 'not measured here'
            WHEN measured_unit <> unit THEN 'unit differs'
            WHEN op = '<=' AND actual <= bound OR op = '<' AND actual < bound
              OR op = '>=' AND actual >= bound OR op = '>' AND actual > bound THEN 'met'
            ELSE 'not met' END AS status
FROM joined ORDER BY section, target_id
