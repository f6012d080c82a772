-- id: quality_floor
-- severity: error
-- why: quality is below its floor, below that of the old build, or not measured where a floor is promised, whatever the speed
-- param: run string
-- undecided: verdict
WITH rows AS (
  SELECT attempt, side, bench_id, metric, unit, status, error, value, ci_low, ci_high FROM results WHERE run_id = $run),
quality AS (SELECT * FROM rows WHERE metric IN ('accuracy', 'retention', 'cosine', 'recall', 'bleu')),
floors AS (
  SELECT target_id, kind, bench_id, metric, op, bound FROM targets
  WHERE metric IN ('accuracy', 'retention', 'cosine', 'recall', 'bleu') AND op IN ('>=', '>')),
found AS (
  SELECT bench_id, metric, median(value) AS value, bool_and(status = 'ok') AS is_ok, bool_or(status = 'skipped') AS is_skipped, min(error) AS error
  FROM quality WHERE side IN ('solo', 'cand') GROUP BY bench_id, metric),
benches AS (SELECT DISTINCT bench_id FROM rows WHERE status = 'ok' AND side IN ('solo', 'cand')),
below AS (
  SELECT f.bench_id, f.metric, f.bound AS base, q.value AS cand, q.value / nullif(f.bound, 0.0) - 1 AS rel,
         CASE WHEN q.is_ok IS NULL OR q.is_skipped THEN 'cannot_tell' ELSE 'regression' END AS verdict,
         CASE f.kind WHEN 'seed' THEN 'warn' ELSE 'error' END AS severity,
         CASE WHEN q.is_ok IS NULL THEN concat(f.target_id, ': its speed is measured, its ', f.metric, ' is not')
              WHEN NOT q.is_ok THEN concat(f.target_id, ': no ', f.metric, ': ', q.error)
              ELSE concat(f.target_id, ': ', f.metric, ' is ', round(q.value, 4), ', the floor is ', f.bound) END AS message
  FROM floors f JOIN benches b ON b.bench_id = f.bench_id LEFT JOIN found q ON q.bench_id = f.bench_id AND q.metric = f.metric
  WHERE q.is_ok IS NULL OR NOT q.is_ok OR q.value < f.bound OR f.op = '>' AND q.value = f.bound),
lost AS (
  SELECT l.bench_id, l.metric, l.value AS base, r.value AS cand, r.value / nullif(l.value, 0.0) - 1 AS rel, 'regression' AS verdict,
         'error' AS severity,
         CASE WHEN r.status = 'ok' THEN concat(l.metric, ' is ', round(r.value, 4), ', before it was ', round(l.value, 4))
              ELSE concat('the candidate has no ', l.metric, ' (', coalesce(r.status, 'absent'), ')', ': ' || r.error) END AS message
  FROM quality l LEFT JOIN quality r ON r.attempt = l.attempt AND r.bench_id = l.bench_id AND r.metric = l.metric AND r.side = 'cand'
  WHERE l.side = 'base' AND l.status = 'ok' AND (SELECT count(*) FROM rows WHERE side = 'cand') > 0
    AND (r.value IS NULL OR coalesce(r.ci_high, r.value) < l.value - 1e-9 * abs(l.value)))
SELECT bench_id, metric, base, cand, rel, verdict, severity, message FROM below
UNION ALL
SELECT bench_id, metric, base, cand, rel, verdict, severity, message FROM lost
ORDER BY severity, verdict DESC, bench_id, metric, message
