-- What did run $run measure, and where is each benchmark written?
-- param: run string
SELECT bench_id, metric, min(unit) AS unit, min(direction) AS direction, min(tags['file']) AS file, min(tags['line']) AS line,
       median(value) FILTER (WHERE status = 'ok' AND side <> 'base') AS value,
       median(ci_low) FILTER (WHERE status = 'ok' AND side <> 'base') AS ci_low,
       median(ci_high) FILTER (WHERE status = 'ok' AND side <> 'base') AS ci_high,
       count(*) FILTER (WHERE status = 'ok') AS value_count, count(*) FILTER (WHERE status NOT IN ('ok', 'skipped')) AS fault_count,
       min(status) FILTER (WHERE status NOT IN ('ok', 'skipped')) AS fault, min(error) AS error
FROM results WHERE run_id = $run GROUP BY bench_id, metric ORDER BY bench_id, metric
