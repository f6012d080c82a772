-- What got worse in run $run against the last accepted run of this machine?
-- param: run string
-- param: min_rel double 0
WITH judged AS (
  SELECT history_id, bench_id, metric, direction, median(value) AS cand, min(ci_low) AS ci_low, max(ci_high) AS ci_high,
         bool_and(status = 'ok') AS is_ok, min(error) AS error, min(started_at) AS started_at
  FROM results
  WHERE run_id = $run AND direction <> 0 AND status <> 'skipped' AND side IN ('solo', 'cand')
  GROUP BY history_id, bench_id, metric, direction),
earlier AS (
  SELECT s.history_id, s.run_id, median(s.value) AS base, min(s.ci_low) AS ci_low, max(s.ci_high) AS ci_high,
         row_number() OVER (PARTITION BY s.history_id ORDER BY max(s.started_at) DESC, s.run_id DESC) AS age
  FROM series s JOIN run_states a ON a.run_id = s.run_id JOIN judged j ON j.history_id = s.history_id
  WHERE a.accepted AND s.env_id = this_env() AND s.side <> 'base' AND s.run_id <> $run AND s.started_at < j.started_at
  GROUP BY s.history_id, s.run_id),
compared AS (
  SELECT j.bench_id, j.metric, b.run_id AS base_run, b.base, CASE WHEN j.is_ok THEN j.cand END AS cand,
         CASE WHEN j.is_ok THEN -j.direction * (j.cand - b.base) / nullif(abs(b.base), 0.0) END AS rel,
         j.ci_low <= b.ci_high AND b.ci_low <= j.ci_high AS ci_overlap, j.is_ok, j.error,
         CASE WHEN j.is_ok THEN -j.direction * (j.cand - b.base) > 0 ELSE true END AS is_worse
  FROM judged j JOIN earlier b ON b.history_id = j.history_id AND b.age = 1)
SELECT bench_id, metric, base, cand, rel, ci_overlap, base_run, CASE WHEN NOT is_ok THEN coalesce(error, 'no value') END AS error
FROM compared WHERE is_worse AND coalesce(rel > $min_rel, true) ORDER BY rel DESC NULLS FIRST, bench_id, metric
