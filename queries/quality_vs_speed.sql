-- Which subjects of run $run are worth their time: best quality at each speed?
-- param: run string
WITH points AS (
  SELECT concat(split_part(bench_id, '/', 1), '/', split_part(bench_id, '/', 2)) AS bench, coalesce(subject, split_part(bench_id, '/', 3)) AS subject,
         median(value) FILTER (WHERE metric IN ('retention', 'accuracy', 'recall')) AS quality,
         median(value) FILTER (WHERE metric = 'wall_ns') AS wall_ns
  FROM results WHERE run_id = $run AND status = 'ok' AND side IN ('solo', 'cand')
  GROUP BY 1, 2)
SELECT p.bench, p.subject, p.quality, p.wall_ns, count(o.subject) = 0 AS is_pareto
FROM points p LEFT JOIN points o
  ON o.bench = p.bench AND o.quality >= p.quality AND o.wall_ns <= p.wall_ns AND (o.quality > p.quality OR o.wall_ns < p.wall_ns)
WHERE p.quality IS NOT NULL AND p.wall_ns IS NOT NULL
GROUP BY p.bench, p.subject, p.quality, p.wall_ns ORDER BY p.bench, p.wall_ns, p.subject
