-- What had been decided about run $run before?
-- param: run string
WITH dated AS (
  SELECT *, row_number() OVER (PARTITION BY gate_id, bench_id, metric ORDER BY decided_at DESC, verdict) AS age,
         max(CASE WHEN bench_id IS NULL THEN CAST(decided_at AS BIGINT) END) OVER (PARTITION BY gate_id) AS last_at
  FROM verdicts WHERE run_id = $run AND purpose = 'gate')
SELECT gate_id, bench_id, metric, base, cand, rel, ci_low, ci_high, p, q, verdict, needed_pairs, pair_count, reason, decided_at,
       CAST(decided_at AS BIGINT) >= last_at - 1 AS is_last
FROM dated WHERE age = 1 ORDER BY gate_id, bench_id, metric
