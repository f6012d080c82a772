"""Latency against recall of `patterns` and its peers, as rows for the history: one thread, the same vectors. The report draws them.

    V/bin/python benches/peers/curves.py EXECUTABLE OUT.jsonl [SET [ROUNDS]]
    promptc bench ingest --from rows OUT.jsonl --suite peers
    promptc bench report

Set up as `search.py` says; SET is one of its sets, 100000 if none is given. Each library runs through its efforts, ours through recalls
that its calibration is asked for; a point is the median of the rounds, which take all libraries in turn. Times are of the thread's
processor. What lies to the right and below is better. The vectors are drawn, not embeddings of texts: real ones may order the libraries
differently, and so does another processor.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import faiss

from search import DIM, EFFORTS, K, QUERIES, SAMPLE, SETS, clustered, ours, peers, recall, uniform, write_fvecs

TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
LEAST = 0.8


def measure(executable, title, rounds):
    """Points of each library: (recall, microseconds), recall of at least LEAST."""
    count, is_clustered = SETS[title]
    rows, queries = clustered(count) if is_clustered else uniform(count)
    exact = faiss.IndexFlat(DIM, faiss.METRIC_INNER_PRODUCT if is_clustered else faiss.METRIC_L2)
    exact.add(rows)
    truth = exact.search(queries, K)[1][SAMPLE:]
    curves = {"promptc": []}
    with tempfile.TemporaryDirectory() as folder:
        name = f"clustered_{title}" if is_clustered else title
        write_fvecs(Path(folder) / f"{name}.rows.fvecs", rows)
        write_fvecs(Path(folder) / f"{name}.queries.fvecs", queries)
        for target in TARGETS:
            runs = [ours(executable, folder, title, target) for _ in range(rounds)]
            curves["promptc"].append((runs[0][1], statistics.median(mean for mean, _ in runs)))
    for peer in peers(rows, is_clustered):
        if "batch" in peer.name:
            continue
        points = curves.setdefault(peer.name, [])
        for effort in EFFORTS if peer.set_effort else (None,):
            if peer.set_effort:
                peer.set_effort(effort)
            peer.search(queries[SAMPLE:SAMPLE + 100])
            times = []
            for _ in range(rounds):
                start = time.thread_time()
                found = peer.search(queries[SAMPLE:])
                times.append((time.thread_time() - start) * 1e6 / (QUERIES - SAMPLE))
            points.append((recall(found, truth), statistics.median(times)))
            if points[-1][0] >= 0.9995:
                break
    return {name: [point for point in points if point[0] >= LEAST] for name, points in curves.items()}


def rows_of(curves, title):
    """Rows of the history: a recall and a time for each point, named `curve/SET/LIBRARY/POINT`."""
    for name, points in curves.items():
        for idx, (share, microseconds) in enumerate(points):
            bench_id = f"curve/{title}/{name.replace('/', '-').replace(' ', '_')}/{idx}"
            yield {"bench_id": bench_id, "metric": "recall", "unit": "ratio", "direction": 1, "value": share}
            yield {"bench_id": bench_id, "metric": "wall_ns", "unit": "us", "direction": -1, "value": microseconds}


def main():
    executable, out = sys.argv[1], Path(sys.argv[2])
    title = sys.argv[3] if len(sys.argv) > 3 else "100000"
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    curves = measure(executable, title, rounds)
    for name, points in curves.items():
        print(name, "  ".join(f"{share:.4f}: {value:.1f} us" for share, value in points))
    out.write_text("".join(json.dumps(row) + "\n" for row in rows_of(curves, title)))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
