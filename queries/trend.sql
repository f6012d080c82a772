-- How did $bench move on this machine?
-- param: bench string
-- param: metric string wall_ns
WITH points AS (
  SELECT history_id, commit_seq, commit_time, git_sha, value, ci_low, ci_high
  FROM series WHERE bench_id = $bench AND metric = $metric AND env_id = this_env() AND side <> 'base'),
found AS (
  SELECT history_id, unnest(change_points(value, commit_seq, 50, 0.001, 0.02)) AS step FROM points GROUP BY history_id),
steps AS (SELECT history_id, step['seq'] AS commit_seq FROM found)
SELECT p.commit_time, p.git_sha, p.value, p.ci_low, p.ci_high, s.commit_seq IS NOT NULL AS is_change_point, p.history_id
FROM points p LEFT JOIN steps s ON s.history_id = p.history_id AND s.commit_seq = p.commit_seq
ORDER BY p.history_id, p.commit_time, p.git_sha, p.value
