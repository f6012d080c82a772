-- Which values did each side of run $run take?
-- param: run string
SELECT bench_id, metric, side, attempt, "values" FROM samples WHERE run_id = $run
UNION ALL
SELECT r.bench_id, r.metric, r.side, r.attempt, make_array(r.value) AS "values"
FROM results r LEFT ANTI JOIN (SELECT bench_id, metric FROM samples WHERE run_id = $run) s
  ON s.bench_id = r.bench_id AND s.metric = r.metric
WHERE r.run_id = $run AND r.status = 'ok'
ORDER BY bench_id, metric, side, attempt
