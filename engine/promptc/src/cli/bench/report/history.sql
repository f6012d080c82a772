-- How did each benchmark of run $run move on its machine, and at which commits did its level change?
-- param: run string
WITH judged AS (
  SELECT min(history_id) AS history_id FROM results WHERE run_id = $run GROUP BY bench_id, metric),
points AS (
  SELECT s.history_id, s.bench_id, s.metric, s.commit_seq, min(s.commit_time) AS commit_time, min(s.git_sha) AS git_sha,
         median(s.value) AS value, median(s.ci_low) AS ci_low, median(s.ci_high) AS ci_high
  FROM series s JOIN judged j ON j.history_id = s.history_id
  WHERE s.side <> 'base' GROUP BY s.history_id, s.bench_id, s.metric, s.commit_seq),
found AS (
  SELECT history_id, unnest(change_points(value, commit_seq, 50, 0.001, 0.02)) AS step FROM points GROUP BY history_id),
steps AS (SELECT history_id, step['seq'] AS commit_seq, step['rel'] AS rel FROM found)
SELECT p.bench_id, p.metric, p.commit_seq, p.commit_time, p.git_sha, p.value, p.ci_low, p.ci_high,
       t.commit_seq IS NOT NULL AS is_change_point, t.rel AS change_rel
FROM points p LEFT JOIN steps t ON t.history_id = p.history_id AND t.commit_seq = p.commit_seq
ORDER BY p.bench_id, p.metric, p.commit_seq
