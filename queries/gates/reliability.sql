-- id: reliability
-- severity: error
-- why: a fault test lost data, made more errors than its bar allows, or did not end well
-- param: run string
WITH rows AS (
  SELECT r.bench_id, r.metric, r.status, r.error, r.value, coalesce(r.target_value, t.bound, 0.0) AS bar
  FROM results r
  LEFT JOIN targets t ON t.bench_id = r.bench_id AND t.metric = r.metric AND t.kind <> 'seed' AND t.op IN ('<=', '<')
  WHERE r.run_id = $run AND r.suite = 'reliability' AND r.status <> 'skipped' AND r.side IN ('solo', 'cand'))
SELECT bench_id, metric, CASE metric WHEN 'lost_count' THEN 0.0 WHEN 'error_rate' THEN bar END AS base, value AS cand,
       CASE WHEN status <> 'ok' THEN concat(status, ': ', coalesce(error, 'no value'))
            WHEN metric = 'lost_count' THEN concat(value, ' acknowledged records are lost')
            ELSE concat(round(100 * value, 2), ' % errors, the bar is ', round(100 * bar, 2), ' %') END AS message
FROM rows WHERE status <> 'ok' OR metric = 'lost_count' AND value > 0 OR metric = 'error_rate' AND value > bar
ORDER BY bench_id, metric, message
