-- id: false_alarm
-- severity: error
-- why: in the last A/A runs of this machine a gate raised more false alarms than 1 % or found less than 95 % of injected +10 %
-- param: rate_max double 0.01
-- param: power_min double 0.95
-- undecided: verdict
WITH same AS (
  SELECT run_id, min(git_sha) AS git_sha, min(commit_time) AS commit_time, max(started_at) AS started_at
  FROM results WHERE side = 'aa' AND env_id = this_env() GROUP BY run_id),
newest AS (SELECT git_sha FROM same ORDER BY started_at DESC, run_id DESC LIMIT 1),
runs AS (SELECT s.run_id FROM same s JOIN newest n ON n.git_sha = s.git_sha),
judged AS (
  SELECT v.*, (ln(1 + v.ci_high) - ln(1 + v.ci_low)) / 2 * sqrt(v.pair_count) / 1.96 AS noise
  FROM verdicts v JOIN runs r ON r.run_id = v.run_id WHERE v.bench_id IS NOT NULL),
alarmed AS (
  SELECT gate_id, run_id, bool_or(verdict = 'regression') AS is_alarm FROM judged WHERE purpose = 'aa' GROUP BY gate_id, run_id),
rates AS (
  SELECT gate_id, 'false_alarm_rate' AS metric, $rate_max AS bar, count(*) FILTER (WHERE is_alarm) AS hits, count(*) AS trials FROM alarmed GROUP BY gate_id
  UNION ALL
  SELECT gate_id, 'power' AS metric, $power_min AS bar, count(*) FILTER (WHERE verdict = 'regression') AS hits, count(*) AS trials
  FROM judged WHERE purpose = 'power' AND abs(injected_rel - 0.10) < 1e-6 AND noise <= 0.12 GROUP BY gate_id),
measured AS (
  SELECT gate_id, metric, bar, hits, trials, CAST(hits AS DOUBLE) / trials AS share, wilson(hits, trials, 0.95) AS ends FROM rates),
noisy AS (SELECT count(*) AS trials FROM judged WHERE purpose = 'power' AND abs(injected_rel - 0.10) < 1e-6),
missing AS (
  SELECT column1 AS metric, column2 AS bar FROM (VALUES ('false_alarm_rate', $rate_max), ('power', $power_min))
  WHERE column1 NOT IN (SELECT metric FROM rates))
SELECT concat('gate/', gate_id) AS bench_id, metric, bar AS base, share AS cand, 'regression' AS verdict,
       concat(hits, ' of ', trials, ', between ', round(100 * ends['low'], 1), ' % and ', round(100 * ends['high'], 1), ' %') AS message
FROM measured WHERE metric = 'power' AND share < bar OR metric = 'false_alarm_rate' AND share > bar
UNION ALL
SELECT 'gate/any', metric, bar, NULL, 'cannot_tell',
       CASE WHEN metric = 'power' AND noisy.trials > 0 THEN concat('power counts for pairs of a noise up to 0.12; the ', noisy.trials, ' that were measured are noisier')
            ELSE concat('no ', replace(metric, '_', ' '), ' was measured on this machine') END
FROM missing CROSS JOIN noisy
ORDER BY bench_id, metric
