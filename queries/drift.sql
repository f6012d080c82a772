-- Which benchmarks crept over the last 90 days, apart from their steps?
WITH newest AS (SELECT max(commit_time) - INTERVAL '90 days' AS since_at FROM series WHERE env_id = this_env()),
points AS (
  SELECT s.history_id, s.bench_id, s.metric, s.direction, floor(date_part('epoch', s.commit_time) / 86400.0) AS day,
         median(s.value) AS value
  FROM series s CROSS JOIN newest n
  WHERE s.direction <> 0 AND s.value > 0 AND s.side <> 'base' AND s.env_id = this_env()
    AND s.commit_time >= n.since_at
  GROUP BY s.history_id, s.bench_id, s.metric, s.direction, floor(date_part('epoch', s.commit_time) / 86400.0)),
histories AS (
  SELECT history_id, bench_id, metric, direction, array_agg(named_struct('day', day, 'value', value)) AS points,
         change_points(value, day, 50, 0.001, 0.02) AS steps
  FROM points GROUP BY history_id, bench_id, metric, direction),
stepped AS (
  SELECT history_id, bench_id, metric, direction, points, steps[at]['seq'] AS step
  FROM (SELECT history_id, bench_id, metric, direction, points, steps, unnest(range(0, CAST(cardinality(steps) AS BIGINT) + 1)) AS at FROM histories)),
paired AS (SELECT history_id, bench_id, metric, direction, step, unnest(points) AS point FROM stepped),
cut AS (
  SELECT history_id, bench_id, metric, direction, point['day'] AS day, ln(point['value']) AS level,
         count(step) FILTER (WHERE step <= point['day']) AS segment
  FROM paired GROUP BY history_id, bench_id, metric, direction, point['day'], point['value']),
centred AS (
  SELECT history_id, bench_id, metric, day - median(day) OVER w AS day, -direction * (level - median(level) OVER w) AS level
  FROM cut WINDOW w AS (PARTITION BY history_id, segment)),
line AS (
  SELECT bench_id, metric, theil_sen(day, level) AS t, count(*) AS day_count FROM centred GROUP BY history_id, bench_id, metric)
SELECT bench_id, metric, exp(90 * t['slope']) - 1 AS slope_per_90d, exp(90 * t['low']) - 1 AS low, exp(90 * t['high']) - 1 AS high,
       t['p'] AS p, day_count
FROM line WHERE day_count >= 8 ORDER BY slope_per_90d DESC, bench_id, metric
