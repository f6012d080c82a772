# Answers one query of the shipped set with DuckDB, each time a line comes in, and prints milliseconds, milliseconds of processors,
# rows and the answer's first column. Usage: python3 beside_duckdb.py QUERY.sql RUN MACHINE THREADS RESULTS,... VERDICTS,...
import sys
import time

import duckdb

query, run, machine, threads, results, verdicts = sys.argv[1:]
db = duckdb.connect(config={"threads": int(threads)})
files = lambda names: "[" + ", ".join(f"'{name}'" for name in names.split(",")) + "]"
db.execute(f"CREATE VIEW results AS SELECT * FROM read_parquet({files(results)})")
db.execute(f"CREATE VIEW verdicts AS SELECT * FROM read_parquet({files(verdicts)})")
# The views of `store/src/sql/views.rs` that the query reads.
db.execute("""
CREATE VIEW series AS SELECT * FROM results
WHERE status = 'ok' AND NOT git_dirty AND commit_seq IS NOT NULL AND side IN ('solo', 'base', 'cand')""")
db.execute("""
CREATE VIEW run_states AS
WITH newest AS (
  SELECT run_id, gate_id, verdict, decided_at,
         row_number() OVER (PARTITION BY run_id, gate_id ORDER BY decided_at DESC, verdict) AS age
  FROM verdicts WHERE bench_id IS NULL AND purpose = 'gate')
SELECT run_id,
       CASE WHEN bool_or(gate_id = 'manual') THEN bool_or(gate_id = 'manual' AND verdict = 'pass')
            ELSE bool_and(verdict = 'pass') END AS accepted
FROM newest WHERE age = 1 GROUP BY run_id""")
sql = open(query).read().replace("this_env()", f"'{machine}'").replace("$run", f"'{run}'").replace("$min_rel", "0.0")
for _ in sys.stdin:
    started, used = time.perf_counter(), time.process_time()
    rows = db.execute(sql).fetchall()
    elapsed, used = (time.perf_counter() - started) * 1e3, (time.process_time() - used) * 1e3
    print(f"{elapsed:.3f}\t{used:.3f}\t{len(rows)}\t{' '.join(sorted(str(row[0]) + ':' + str(row[1]) for row in rows))}", flush=True)
