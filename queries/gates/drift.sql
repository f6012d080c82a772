-- id: drift
-- severity: warn
-- why: over 90 days the benchmark crept by more than 5 %, apart from the steps that other gates find
-- param: run string
WITH now AS (
  SELECT history_id, bench_id, metric, direction, min(commit_time) AS until_at,
         min(commit_time) - INTERVAL '90 days' AS since_at, row_number() OVER (ORDER BY history_id) AS place
  FROM results WHERE run_id = $run AND status = 'ok' AND direction <> 0 AND side IN ('solo', 'cand')
  GROUP BY history_id, bench_id, metric, direction),
days AS (
  SELECT n.place, floor(date_part('epoch', s.commit_time) / 86400.0) AS day, median(s.value) AS value
  FROM series s JOIN now n ON n.history_id = s.history_id
  WHERE s.value > 0 AND s.side <> 'base' AND s.commit_time BETWEEN n.since_at AND n.until_at
  GROUP BY n.place, floor(date_part('epoch', s.commit_time) / 86400.0)),
histories AS (
  SELECT place, array_agg(named_struct('day', day, 'value', value)) AS points, change_points(value, day, 50, 0.001, 0.02) AS steps
  FROM days GROUP BY place),
stepped AS (
  SELECT place, points, steps[at]['seq'] AS step
  FROM (SELECT place, points, steps, unnest(range(0, CAST(cardinality(steps) AS BIGINT) + 1)) AS at FROM histories)),
paired AS (SELECT place, step, unnest(points) AS point FROM stepped),
cut AS (
  SELECT place, point['day'] AS day, point['value'] AS value, ln(point['value']) AS level,
         count(step) FILTER (WHERE step <= point['day']) AS segment
  FROM paired GROUP BY place, point['day'], point['value']),
centred AS (
  SELECT place, value, day - median(day) OVER w AS day, level - median(level) OVER w AS level
  FROM cut WINDOW w AS (PARTITION BY place, segment)),
line AS (
  SELECT n.bench_id, n.metric, theil_sen(c.day, -n.direction * c.level) AS t, median(c.value) AS typical, count(*) AS day_count
  FROM centred c JOIN now n ON n.place = c.place GROUP BY c.place, n.bench_id, n.metric)
SELECT bench_id, metric, typical AS base, exp(90 * t['slope']) - 1 AS rel, t['p'] AS p, day_count,
       concat('crept by ', round(100 * (exp(90 * t['slope']) - 1), 1), ' % in 90 days over ', day_count, ' days with values') AS message
FROM line WHERE day_count >= 20 AND t['p'] < 0.01 AND exp(90 * t['slope']) - 1 > 0.05 ORDER BY rel DESC, bench_id, metric
