-- Which commits moved which benchmark on this machine, and by how much?
WITH found AS (
  SELECT history_id, bench_id, metric, unnest(change_points(value, commit_seq, 50, 0.001, 0.02)) AS step
  FROM series WHERE direction <> 0 AND env_id = this_env() AND side <> 'base' GROUP BY history_id, bench_id, metric),
steps AS (
  SELECT history_id, bench_id, metric, step['seq'] AS commit_seq, step['rel'] AS rel, step['p'] AS p,
         step['mean_before'] AS mean_before, step['mean_after'] AS mean_after
  FROM found),
commits AS (
  SELECT s.history_id, s.commit_seq, min(s.git_sha) AS git_sha, min(s.commit_time) AS commit_time
  FROM series s JOIN steps f ON f.history_id = s.history_id AND f.commit_seq = s.commit_seq
  WHERE s.side <> 'base' GROUP BY s.history_id, s.commit_seq)
SELECT f.bench_id, f.metric, k.git_sha, k.commit_time, f.rel, f.p, f.mean_before, f.mean_after
FROM steps f JOIN commits k ON k.history_id = f.history_id AND k.commit_seq = f.commit_seq
ORDER BY k.commit_time DESC, abs(f.rel) DESC, f.bench_id, f.metric
