-- What was the last result of each fault test on this machine, of whatever build?
WITH known AS (
  SELECT DISTINCT bench_id AS test FROM results WHERE suite = 'reliability'
  UNION SELECT DISTINCT bench_id FROM targets WHERE bench_id LIKE 'reliability/%'),
here AS (
  SELECT r.bench_id, r.run_id, r.metric, r.status, r.value, r.p99, r.started_at, coalesce(r.target_value, t.bound, 0.0) AS bar
  FROM results r
  LEFT JOIN targets t ON t.bench_id = r.bench_id AND t.metric = r.metric AND t.kind <> 'seed' AND t.op IN ('<=', '<')
  WHERE r.suite = 'reliability' AND r.side IN ('solo', 'cand') AND r.env_id IN (
    SELECT e.env_id FROM env e JOIN env t ON t.env_id = this_env() AND (e.env_id = t.env_id OR e.host_hash = t.host_hash))),
counted AS (
  SELECT bench_id, count(DISTINCT run_id) FILTER (WHERE status <> 'skipped') AS runs, max(started_at) AS last_at FROM here GROUP BY bench_id),
newest AS (
  SELECT bench_id, run_id, row_number() OVER (PARTITION BY bench_id ORDER BY max(started_at) DESC, run_id DESC) AS age
  FROM here GROUP BY bench_id, run_id),
last AS (
  SELECT h.bench_id, h.run_id, max(h.value) FILTER (WHERE h.metric = 'lost_count') AS lost_count,
         max(coalesce(h.p99, h.value)) FILTER (WHERE h.metric = 'recovery_ns') AS recovery_ns_p99,
         bool_and(h.status = 'skipped') AS is_skipped, bool_or(h.status IN ('failed', 'timeout')) AS is_failed,
         coalesce(bool_or(h.metric = 'lost_count' AND h.value > 0
               OR h.metric = 'error_rate' AND h.value > h.bar), false) AS is_over
  FROM here h JOIN newest n ON n.bench_id = h.bench_id AND n.run_id = h.run_id AND n.age = 1 GROUP BY h.bench_id, h.run_id)
SELECT k.test, coalesce(c.runs, 0) AS runs, l.lost_count, l.recovery_ns_p99,
       CASE WHEN l.run_id IS NULL OR l.is_skipped THEN 'not run' WHEN l.is_failed OR l.is_over THEN 'failed' ELSE 'passed' END AS state,
       c.last_at, l.run_id
FROM known k LEFT JOIN counted c ON c.bench_id = k.test LEFT JOIN last l ON l.bench_id = k.test ORDER BY k.test
