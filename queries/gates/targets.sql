-- id: targets
-- severity: error
-- why: a promise of targets.toml is not met by this run (figures of other documents only warn)
-- param: run string
WITH measured AS (
  SELECT bench_id, metric, unit, status, error, value, mean, p90, p95, p99, p999, max, ci_low,
         row_number() OVER (PARTITION BY bench_id, metric ORDER BY status = 'ok', started_at DESC, attempt DESC) AS age
  FROM results WHERE run_id = $run AND status <> 'skipped' AND side IN ('solo', 'cand')),
joined AS (
  SELECT t.*, m.unit AS measured_unit, m.status, m.error,
         CASE t.statistic WHEN 'median' THEN m.value WHEN 'mean' THEN m.mean WHEN 'p90' THEN m.p90 WHEN 'p95' THEN m.p95
                          WHEN 'p99' THEN m.p99 WHEN 'p999' THEN m.p999 WHEN 'max' THEN m.max WHEN 'ci_low' THEN m.ci_low
         END AS actual
  FROM targets t JOIN measured m ON m.bench_id = t.bench_id AND m.metric = t.metric AND m.age = 1),
judged AS (
  SELECT *, CASE WHEN status <> 'ok' THEN concat(status, ': ', coalesce(error, 'no value'))
                 WHEN measured_unit <> unit THEN concat('measured in ', measured_unit, ', promised in ', unit)
                 WHEN actual IS NULL OR op = '<=' AND actual <= bound OR op = '<' AND actual < bound
                   OR op = '>=' AND actual >= bound OR op = '>' AND actual > bound THEN NULL
                 ELSE concat(statistic, ' is ', actual, ', promised ', op, ' ', bound, ' ', unit) END AS reason
  FROM joined)
SELECT bench_id, metric, bound AS base, actual AS cand, (actual - bound) / nullif(abs(bound), 0.0) * CASE WHEN op IN ('<=', '<') THEN 1 ELSE -1 END AS rel,
       CASE kind WHEN 'ours' THEN 'error' ELSE 'warn' END AS severity, target_id, concat(target_id, ': ', reason) AS message
FROM judged WHERE reason IS NOT NULL ORDER BY severity, rel DESC, target_id
