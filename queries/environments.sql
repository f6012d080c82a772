-- How fast is the same benchmark elsewhere, as a ratio to this machine at the same commit?
WITH points AS (
  SELECT bench_id, metric, concat(array_to_string(map_keys(params), ', '), ': ', array_to_string(map_values(params), ', ')) AS work, git_sha, env_id, median(value) AS value
  FROM series WHERE side <> 'base' AND metric IN ('wall_ns', 'cpu_ns', 'throughput')
  GROUP BY bench_id, metric, concat(array_to_string(map_keys(params), ', '), ': ', array_to_string(map_values(params), ', ')), git_sha, env_id),
ratios AS (
  SELECT o.bench_id, o.metric, o.env_id, o.value / nullif(h.value, 0.0) AS ratio
  FROM points o JOIN points h ON h.bench_id = o.bench_id AND h.metric = o.metric AND h.work = o.work AND h.git_sha = o.git_sha
  WHERE h.env_id = this_env() AND o.env_id <> this_env())
SELECT r.bench_id, r.metric, r.env_id AS env, e.cpu_model, e.rustc_version, median(r.ratio) AS ratio, min(r.ratio) AS ratio_min,
       max(r.ratio) AS ratio_max, count(*) AS commit_count
FROM ratios r LEFT JOIN environments e ON e.env_id = r.env_id
GROUP BY r.bench_id, r.metric, r.env_id, e.cpu_model, e.rustc_version ORDER BY r.bench_id, r.metric, env
