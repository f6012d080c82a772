-- id: paired
-- severity: error
-- why: the new build is slower than the old by more than 5 % and more than chance allows, or lacks a measurement that the old has; what the run itself was measured with counts before the parameters
-- param: run string
-- param: alpha double 0.01
-- param: min_effect double 0.05
-- undecided: verdict
WITH limits AS (
  SELECT coalesce(min(CAST(tags['alpha'] AS DOUBLE)), $alpha) AS alpha, coalesce(min(CAST(tags['min_effect'] AS DOUBLE)), $min_effect) AS min_effect
  FROM results WHERE run_id = $run AND side = 'base'),
cand AS (
  SELECT attempt, bench_id, metric, side, status, error, value, code_hash
  FROM results WHERE run_id = $run AND side IN ('cand', 'aa')),
sides AS (
  SELECT b.bench_id, b.metric, b.unit, b.direction, b.value AS base, c.value AS cand, coalesce(c.status, 'absent') AS ended, c.error,
         coalesce(b.code_hash = c.code_hash, false) AND c.side = 'cand' AS same_code
  FROM results b LEFT JOIN cand c ON c.attempt = b.attempt AND c.bench_id = b.bench_id AND c.metric = b.metric
  WHERE b.run_id = $run AND b.side = 'base' AND b.status = 'ok' AND b.direction <> 0),
missing AS (
  SELECT bench_id, metric, median(base) AS base, concat('missing: the candidate has no value (', min(ended), ')', min(': ' || error)) AS message
  FROM sides WHERE ended <> 'ok' GROUP BY bench_id, metric),
unmeasured AS (
  SELECT bench_id, metric, concat('cannot_tell: the base has no value (', min(status), ')', min(': ' || error)) AS message
  FROM results WHERE run_id = $run AND side = 'base' AND status IN ('failed', 'timeout') AND direction <> 0 GROUP BY bench_id, metric),
observed AS (
  SELECT bench_id, metric, unit, direction, base_value AS base, cand_value AS cand FROM pairs
  WHERE run_id = $run AND direction <> 0 AND NOT same_code
  UNION ALL
  SELECT s.bench_id, s.metric, s.unit, s.direction, s.base, s.cand FROM sides s
  LEFT ANTI JOIN (SELECT bench_id, metric FROM samples WHERE run_id = $run) k ON k.bench_id = s.bench_id AND k.metric = s.metric
  WHERE s.ended = 'ok' AND NOT s.same_code),
tested AS (
  SELECT bench_id, metric, unit, median(base) AS base, median(cand) AS cand, count(*) AS pair_count,
         bool_and(base > 0 AND cand > 0) AS has_ratio, bool_and(base = cand) AS is_equal,
         paired_test(CASE WHEN base > 0 AND cand > 0 THEN base END, CASE WHEN base > 0 AND cand > 0 THEN cand END, direction) AS t
  FROM observed GROUP BY bench_id, metric, unit, direction),
plain AS (
  SELECT bench_id, metric, base, cand, pair_count, has_ratio, is_equal, t['rel'] AS rel, t['ci_low'] AS ci_low, t['ci_high'] AS ci_high,
         t['needed_pairs'] AS needed_pairs, pair_count = 1 AND unit NOT IN ('ns', '1/s', 'bytes/s', 'tok/s') AS is_taken_once,
         CASE WHEN abs(t['rel']) >= limits.min_effect THEN t['p'] ELSE 1.0 END AS p, limits.alpha, limits.min_effect
  FROM tested CROSS JOIN limits),
ranked AS (SELECT *, row_number() OVER (ORDER BY p, bench_id, metric) AS k, count(*) OVER () AS m FROM plain),
adjusted AS (
  SELECT *, least(1.0, min(p * m / k) OVER (ORDER BY k DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) AS q FROM ranked),
judged AS (
  SELECT *, CASE WHEN is_equal THEN 'no_change'
                 WHEN NOT has_ratio THEN 'cannot_tell'
                 WHEN is_taken_once AND rel <= min_effect THEN 'no_change'
                 WHEN rel > min_effect AND q <= alpha THEN 'regression'
                 WHEN rel < -min_effect AND q <= alpha THEN 'improvement'
                 WHEN ci_low > -min_effect AND ci_high < min_effect THEN 'no_change'
                 ELSE 'cannot_tell' END AS verdict
  FROM adjusted),
walls AS (
  SELECT bench_id, metric, median(base_value) AS base, median(cand_value) AS cand, count(*) AS pair_count, paired_test(base_value, cand_value, -1) AS t
  FROM pairs WHERE run_id = $run AND metric = 'wall_ns' AND direction = 0 AND NOT same_code GROUP BY bench_id, metric),
waits AS (
  SELECT w.bench_id, w.metric, w.base, w.cand, w.t['rel'] AS rel, w.t['ci_low'] AS ci_low, w.t['ci_high'] AS ci_high, w.t['p'] AS p,
         least(1.0, w.t['p'] * j.m) AS q, w.pair_count
  FROM walls w JOIN judged j ON j.bench_id = w.bench_id AND j.metric = 'cpu_ns' AND j.verdict <> 'regression'
  WHERE w.t['rel'] > j.min_effect AND w.t['p'] * j.m <= j.alpha)
SELECT bench_id, metric, base, cand, rel, ci_low, ci_high, p, q, verdict, needed_pairs, pair_count,
       CASE WHEN NOT has_ratio THEN 'cannot_tell: values of 0 and below have no ratio'
            ELSE concat(verdict, ': ', round(100 * rel, 1), ' % in ', pair_count, CASE pair_count WHEN 1 THEN ' pair' ELSE ' pairs' END) END AS message
FROM judged WHERE verdict IN ('regression', 'cannot_tell') AND bench_id NOT IN (SELECT bench_id FROM waits)
UNION ALL
SELECT bench_id, metric, base, cand, rel, ci_low, ci_high, p, q, 'regression', NULL, pair_count,
       concat('it waits: ', round(100 * rel, 1), ' % more time in ', pair_count, ' pairs, and no more of the processor') FROM waits
UNION ALL
SELECT bench_id, metric, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'cannot_tell', NULL, NULL, message FROM unmeasured
UNION ALL
SELECT bench_id, metric, base, NULL, NULL, NULL, NULL, NULL, NULL, 'regression', NULL, NULL, message FROM missing
ORDER BY verdict DESC, rel DESC, bench_id, metric
