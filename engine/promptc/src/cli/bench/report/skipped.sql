-- Which promises could not be measured on this machine, and why?
SELECT r.bench_id, r.metric, last_value(r.error ORDER BY r.started_at, r.error) AS error
FROM results r JOIN (SELECT DISTINCT bench_id, metric FROM targets) t ON t.bench_id = r.bench_id AND t.metric = r.metric
WHERE r.status = 'skipped' AND r.env_id = this_env() GROUP BY r.bench_id, r.metric ORDER BY r.bench_id, r.metric
