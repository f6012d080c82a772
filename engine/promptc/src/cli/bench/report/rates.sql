-- How often did the gate err on this machine, and which slow-downs did it find?
WITH same AS (
  SELECT run_id, min(git_sha) AS git_sha, max(started_at) AS started_at
  FROM results WHERE side = 'aa' AND env_id = this_env() GROUP BY run_id),
newest AS (SELECT git_sha FROM same ORDER BY started_at DESC, run_id DESC LIMIT 1),
runs AS (SELECT s.run_id, s.git_sha FROM same s JOIN newest n ON n.git_sha = s.git_sha),
judged AS (
  SELECT v.gate_id, v.run_id, v.purpose, v.verdict, round(v.injected_rel, 4) AS injected_rel, r.git_sha,
         (ln(1 + v.ci_high) - ln(1 + v.ci_low)) / 2 * sqrt(v.pair_count) / 1.96 AS noise
  FROM verdicts v JOIN runs r ON r.run_id = v.run_id WHERE v.bench_id IS NOT NULL),
alarmed AS (
  SELECT gate_id, git_sha, run_id, bool_or(verdict = 'regression') AS is_alarm
  FROM judged WHERE purpose = 'aa' GROUP BY gate_id, git_sha, run_id),
rates AS (
  SELECT gate_id, git_sha, 'runs' AS scope, NULL AS injected_rel, count(*) FILTER (WHERE is_alarm) AS hits, count(*) AS trials
  FROM alarmed GROUP BY gate_id, git_sha
  UNION ALL
  SELECT gate_id, git_sha, 'quiet' AS scope, injected_rel, count(*) FILTER (WHERE verdict = 'regression') AS hits, count(*) AS trials
  FROM judged WHERE purpose = 'power' AND noise <= 0.12 GROUP BY gate_id, git_sha, injected_rel
  UNION ALL
  SELECT gate_id, git_sha, 'noisy' AS scope, injected_rel, count(*) FILTER (WHERE verdict = 'regression') AS hits, count(*) AS trials
  FROM judged WHERE purpose = 'power' AND NOT coalesce(noise <= 0.12, false) GROUP BY gate_id, git_sha, injected_rel)
SELECT gate_id, git_sha, scope, injected_rel, hits, trials, wilson(hits, trials, 0.95)['low'] AS low, wilson(hits, trials, 0.95)['high'] AS high
FROM rates ORDER BY scope <> 'runs', injected_rel, scope DESC, gate_id
