# Reads a benchmark history with DuckDB, pandas and Polars. Usage: python3 readers.py FOLDER
import sys

import duckdb

lake = sys.argv[1]
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
for table in ["results", "samples", "scrapes", "verdicts"]:
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{lake}/{table}/*/*.parquet', union_by_name = true)")
db.execute(f"CREATE VIEW env AS SELECT * FROM read_parquet('{lake}/env/*.parquet')")


def one(sql):
    return db.execute(sql).fetchone()


print("results", *one("SELECT count(*) FROM results"))
print("ok routing", *one("SELECT count(*) FROM results WHERE status = 'ok' AND bench_id = 'airline/routing/full'"))
print("params", dict(one("SELECT params FROM results WHERE metric = 'wall_ns' LIMIT 1")[0]))
print("texts", *one("SELECT typeof(side), typeof(suite), typeof(metric), typeof(git_sha) FROM results LIMIT 1"))
print("started", *one("SELECT CAST(min(started_at) AS VARCHAR) || ':00' FROM results"))
print("nulls", *one("SELECT count(*) FROM results WHERE value IS NULL AND status = 'skipped' AND error = 'no GPU here'"))
print("pairs", *one("""
    WITH u AS (SELECT run_id, side, bench_id, unnest("values") AS v, generate_subscripts("values", 1) AS i FROM samples)
    SELECT count(*), round(median(c.v / b.v), 9) FROM u b JOIN u c USING (run_id, bench_id, i)
    WHERE b.side = 'base' AND c.side = 'cand'"""))
print("iterations", *one("SELECT DISTINCT unnest(iters) FROM samples"))
print("env", *one("SELECT os FROM env"))
print("verdict", *one("SELECT verdict FROM verdicts WHERE bench_id IS NULL"))

readers = [f"duckdb {duckdb.__version__}"]
try:
    import pandas

    frame = pandas.read_parquet(f"{lake}/results")
    assert len(frame) == 15 and set(frame["side"]) == {"base", "cand", "solo"}, frame
    assert len(pandas.read_parquet(f"{lake}/samples")["values"].iloc[0]) == 20
    readers.append(f"pandas {pandas.__version__}")
except ImportError:
    pass
try:
    import polars

    frame = polars.read_parquet(f"{lake}/results/*/*.parquet")
    assert frame.filter(polars.col("status") == "ok").height == 12, frame
    assert polars.read_parquet(f"{lake}/samples/*/*.parquet")["values"].list.len().to_list() == [20] * 12
    readers.append(f"polars {polars.__version__}")
except ImportError:
    pass
print("read by", ", ".join(readers))
