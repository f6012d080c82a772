-- What recall does the index reach against exact search, and in what time, by size and ef?
WITH latest AS (
  SELECT bench_id, params, metric, value,
         row_number() OVER (PARTITION BY history_id ORDER BY started_at DESC, attempt DESC) AS age
  FROM results
  WHERE metric IN ('recall', 'wall_ns') AND status = 'ok' AND side IN ('solo', 'cand') AND env_id = this_env()
    AND bench_id IN (SELECT bench_id FROM results WHERE metric = 'recall'))
SELECT bench_id, CAST(params['size'] AS BIGINT) AS size, CAST(params['ef'] AS BIGINT) AS ef,
       max(value) FILTER (WHERE metric = 'recall') AS recall, max(value) FILTER (WHERE metric = 'wall_ns') AS wall_ns
FROM latest WHERE age = 1
GROUP BY bench_id, concat(array_to_string(map_keys(params), ', '), ': ', array_to_string(map_values(params), ', ')), params['size'], params['ef']
HAVING count(*) FILTER (WHERE metric = 'recall') > 0 ORDER BY bench_id, size, ef
