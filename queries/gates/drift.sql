-- id: drift
-- severity: warn
-- why: over 90 days the benchmark crept by more than 5 %, apart from the steps that other gates find
-- param: run string
WITH now AS (
  SELECT history_id, min(commit_time) AS commit_time
  FROM results WHERE run_id = $run AND status = 'ok' AND direction <> 0 AND side IN ('solo', 'cand') GROUP BY history_id),
points AS (
  SELECT s.history_id, s.bench_id, s.metric, s.direction, floor(date_part('epoch', s.commit_time) / 86400.0) AS day,
         median(s.value) AS value
  FROM series s JOIN now n ON n.history_id = s.history_id
  WHERE s.value > 0 AND s.side <> 'base' AND s.commit_time <= n.commit_time AND s.commit_time >= n.commit_time - INTERVAL '90 days'
  GROUP BY s.history_id, s.bench_id, s.metric, s.direction, floor(date_part('epoch', s.commit_time) / 86400.0)),
found AS (SELECT history_id, unnest(change_points(value, day, 50, 0.001, 0.02)) AS step FROM points GROUP BY history_id),
steps AS (SELECT history_id, step['seq'] AS day FROM found),
cut AS (
  SELECT p.history_id, p.bench_id, p.metric, p.direction, p.day, p.value, ln(p.value) AS level, count(s.day) AS segment
  FROM points p LEFT JOIN steps s ON s.history_id = p.history_id AND s.day <= p.day
  GROUP BY p.history_id, p.bench_id, p.metric, p.direction, p.day, p.value),
centred AS (
  SELECT history_id, bench_id, metric, value, day - median(day) OVER w AS day, -direction * (level - median(level) OVER w) AS level
  FROM cut WINDOW w AS (PARTITION BY history_id, segment)),
line AS (
  SELECT bench_id, metric, theil_sen(day, level) AS t, median(value) AS typical, count(*) AS day_count
  FROM centred GROUP BY history_id, bench_id, metric)
SELECT bench_id, metric, typical AS base, exp(90 * t['slope']) - 1 AS rel, t['p'] AS p, day_count,
       concat('crept by ', round(100 * (exp(90 * t['slope']) - 1), 1), ' % in 90 days over ', day_count, ' days with values') AS message
FROM line WHERE day_count >= 20 AND t['p'] < 0.01 AND exp(90 * t['slope']) - 1 > 0.05 ORDER BY rel DESC, bench_id, metric
