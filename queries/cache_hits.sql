-- How often does the embedding cache hit, by trace and size?
WITH latest AS (
  SELECT bench_id, params, metric, value, run_id,
         row_number() OVER (PARTITION BY history_id ORDER BY started_at DESC, attempt DESC) AS age
  FROM results
  WHERE suite = 'embedding' AND metric IN ('hit_rate', 'lookup_count') AND status = 'ok' AND side IN ('solo', 'cand') AND env_id = this_env())
SELECT bench_id, concat(array_to_string(map_keys(params), ', '), ': ', array_to_string(map_values(params), ', ')) AS params, max(value) FILTER (WHERE metric = 'hit_rate') AS hit_rate,
       max(value) FILTER (WHERE metric = 'lookup_count') AS lookup_count
FROM latest WHERE age = 1
GROUP BY 1, 2 HAVING count(*) FILTER (WHERE metric = 'hit_rate') > 0 ORDER BY bench_id, params
