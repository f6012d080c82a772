-- Which commits can have caused each change?
WITH found AS (
  SELECT history_id, bench_id, metric, unnest(change_points(value, commit_seq, 50, 0.001, 0.02)) AS step
  FROM series WHERE direction <> 0 AND env_id = this_env() AND side <> 'base' GROUP BY history_id, bench_id, metric),
steps AS (SELECT history_id, bench_id, metric, step['seq'] AS first_bad, step['rel'] AS rel FROM found),
commits AS (
  SELECT s.history_id, s.commit_seq, min(s.git_sha) AS git_sha
  FROM series s JOIN (SELECT DISTINCT history_id FROM steps) f ON f.history_id = s.history_id
  WHERE s.side <> 'base' GROUP BY s.history_id, s.commit_seq),
line AS (
  SELECT history_id, commit_seq, git_sha, lag(commit_seq) OVER w AS last_good, lag(git_sha) OVER w AS last_good_sha
  FROM commits WINDOW w AS (PARTITION BY history_id ORDER BY commit_seq))
SELECT f.bench_id, f.metric, f.rel, l.last_good_sha, l.git_sha AS first_bad_sha,
       CAST(l.commit_seq AS BIGINT) - CAST(l.last_good AS BIGINT) AS commit_count
FROM steps f JOIN line l ON l.history_id = f.history_id AND l.commit_seq = f.first_bad
ORDER BY commit_count DESC, f.bench_id, f.metric, f.first_bad
