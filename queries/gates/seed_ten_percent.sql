-- id: seed_ten_percent
-- severity: warn
-- why: the rule of the older documents, more than 10 % worse than the run before, kept to compare its false alarms with the others'
-- param: run string
WITH now AS (
  SELECT history_id, bench_id, metric, direction, median(value) AS value, min(commit_time) AS commit_time, min(started_at) AS started_at
  FROM results WHERE run_id = $run AND status = 'ok' AND direction <> 0 AND side IN ('solo', 'cand')
  GROUP BY history_id, bench_id, metric, direction),
past AS (
  SELECT s.history_id, first_value(s.value ORDER BY s.commit_time DESC, s.started_at DESC) AS value
  FROM series s JOIN now n ON n.history_id = s.history_id
  WHERE s.side <> 'base' AND s.run_id <> $run
    AND (s.commit_time < n.commit_time OR s.commit_time = n.commit_time AND s.started_at < n.started_at)
  GROUP BY s.history_id),
judged AS (
  SELECT n.bench_id, n.metric, p.value AS base, n.value AS cand, -n.direction * (n.value / nullif(p.value, 0.0) - 1) AS rel
  FROM now n JOIN past p ON p.history_id = n.history_id),
same AS (
  SELECT avg(CASE WHEN -p.direction * (p.cand_value / nullif(p.base_value, 0.0) - 1) > 0.10 THEN 1.0 ELSE 0.0 END) AS false_alarm_rate
  FROM pairs p
  WHERE p.direction <> 0 AND p.run_id IN (SELECT run_id FROM results WHERE side = 'aa' AND env_id = this_env()))
SELECT j.bench_id, j.metric, j.base, j.cand, j.rel, s.false_alarm_rate,
       concat(round(100 * j.rel, 1), ' % worse than the run before; such a rule is wrong in ',
              CASE WHEN s.false_alarm_rate IS NULL THEN 'an unknown share' ELSE concat(round(100 * s.false_alarm_rate, 1), ' %') END,
              ' of equal pairs here') AS message
FROM judged j CROSS JOIN same s WHERE j.rel > 0.10 ORDER BY j.rel DESC, j.bench_id, j.metric
