"""Searches of `patterns` beside hnswlib, faiss and usearch: the same vectors, one thread each, in turn, at equal recall.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 hnswlib==0.8.0 faiss-cpu==1.15.1 usearch==2.26.6
    cargo bench -p promptc-benches --no-default-features --bench patterns --no-run
    V/bin/python benches/peers/search.py EXECUTABLE [ROUNDS [SET ...]]

EXECUTABLE is what the second command names. Each set has 1,000 queries: on the first 200 every index looks for its least effort that
reaches a recall@10 of 0.98 (1,000 rows: 0.99); the other 800 are timed, and recall is counted on them. A peer that does not reach it is
left out by name. Times are of the thread's processor, in microseconds a query. A peer is given all 800 queries in one call, so that
Python's share does not count; `faiss-flat` then multiplies matrices, which no single query can, so it is also timed alone. Printed are
medians of the rounds, and the median of the ratios to ours of the same round.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One thread each, and no choice of another build's kernels.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
os.environ["OMP_NUM_THREADS"] = "1"

import faiss
import hnswlib
import numpy as np
from usearch.index import Index as UsearchIndex

DIM, K, QUERIES, SAMPLE = 256, 10, 1000, 200
SETS = {"1000": (1_000, True), "10000": (10_000, True), "100000": (100_000, True), "uniform_10000": (10_000, False)}
EFFORTS = (10, 16, 24, 32, 50, 64, 100, 150, 200, 300, 400, 600, 1000)


def clustered(rows):
    """Like embeddings: 512 centres with Dirichlet(1) weights, noise with a spectrum of i^-1/2 in a random basis, length 1."""
    random = np.random.Generator(np.random.PCG64(20261120 + DIM))
    centres = random.standard_normal((512, DIM))
    spectrum = np.arange(1, DIM + 1) ** -0.5
    basis = np.linalg.qr(random.standard_normal((DIM, DIM)))[0]
    basis = (spectrum * np.sqrt(DIM) / np.linalg.norm(spectrum))[:, None] * basis.T
    weights = random.dirichlet(np.ones(512))

    def draw(count):
        chosen = random.choice(512, size=count, p=weights)
        vectors = 0.7 * centres[chosen] + random.standard_normal((count, DIM)) @ basis
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    queries = draw(QUERIES)
    return draw(rows), queries


def uniform(rows):
    random = np.random.Generator(np.random.PCG64(20261121 + DIM))
    queries = random.random((QUERIES, DIM), dtype=np.float32)
    return random.random((rows, DIM), dtype=np.float32), queries


def write_fvecs(path, vectors):
    lengths = np.full((len(vectors), 1), vectors.shape[1], np.int32).view(np.float32)
    np.hstack([lengths, vectors]).astype(np.float32).tofile(path)


def recall(found, truth):
    return float(np.mean([len(set(one) & set(true)) / K for one, true in zip(found, truth)]))


class Peer:
    """An index of a library with its effort set; `search` takes queries and gives ids."""

    def __init__(self, name, search, set_effort=None):
        self.name, self.search, self.set_effort, self.effort = name, search, set_effort, None

    def tune(self, queries, truth, target):
        if self.set_effort is None:
            return recall(self.search(queries), truth) >= target
        for effort in EFFORTS:
            self.set_effort(effort)
            if recall(self.search(queries), truth) >= target:
                self.effort = effort
                return True
        return False


def peers(rows, is_clustered):
    """The peers with their indexes, built with M 16 and efConstruction 200."""
    count = len(rows)
    graph = hnswlib.Index(space="ip" if is_clustered else "l2", dim=DIM)
    graph.init_index(max_elements=count, ef_construction=200, M=16, random_seed=1)
    graph.set_num_threads(1)
    graph.add_items(rows, np.arange(count), num_threads=1)
    yield Peer("hnswlib", lambda queries: graph.knn_query(queries, k=K, num_threads=1)[0], graph.set_ef)

    metric = faiss.METRIC_INNER_PRODUCT if is_clustered else faiss.METRIC_L2
    small_world = faiss.IndexHNSWFlat(DIM, 16, metric)
    small_world.hnsw.efConstruction = 200
    small_world.add(rows)
    yield Peer("faiss-hnsw", lambda queries: small_world.search(queries, K)[1],
               lambda effort: setattr(small_world.hnsw, "efSearch", effort))

    lists = max(16, int(4 * count**0.5) // 16 * 16)
    codes = faiss.index_factory(DIM, f"IVF{lists},PQ128x4fs,RFlat", metric)
    codes.train(rows)
    codes.add(rows)
    inverted = faiss.extract_index_ivf(codes.base_index)

    def set_probes(effort):
        inverted.nprobe, codes.k_factor = max(1, effort // 4), 10

    yield Peer("faiss-ivf-pqfs", lambda queries: codes.search(queries, K)[1], set_probes)

    flat = faiss.IndexFlat(DIM, metric)
    flat.add(rows)
    yield Peer("faiss-flat (a batch)", lambda queries: flat.search(queries, K)[1])
    yield Peer("faiss-flat (alone)", lambda queries: np.concatenate([flat.search(one[None], K)[1] for one in queries]))

    packed = UsearchIndex(ndim=DIM, metric="ip" if is_clustered else "l2sq", dtype="f32", connectivity=16,
                          expansion_add=200)
    packed.add(np.arange(count), rows, threads=1)
    yield Peer("usearch", lambda queries: packed.search(queries, K, threads=1).keys,
               lambda effort: setattr(packed, "expansion_search", effort))


def ours(executable, folder, title, target=None):
    """One run: microseconds a query, and recall; `target` is the recall that the index calibrates itself to."""
    with tempfile.TemporaryDirectory() as home:
        asked = {} if target is None else {"PROMPTC_RECALL": str(target)}
        environment = {**os.environ, **asked, "PROMPTC_VECTORS": str(folder), "PROMPTC_BENCH_SLICE": "1", "CRITERION_HOME": home}
        subprocess.run([executable, "--bench", "--quick", f"^pattern_search/{title}$"], env=environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        estimates = json.loads(next(Path(home).glob(f"pattern_search/{title}/new/estimates.json")).read_text())
        values = json.loads((Path(home) / "slice.json").read_text())["measurements"]
    found = {one["metric"]: one["values"][0] for one in values}
    return estimates["mean"]["point_estimate"] / 1e3, found["recall"]


def main():
    executable, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print(f"hnswlib {getattr(hnswlib, '__version__', '0.8.0')}, faiss {faiss.__version__} ({faiss.get_compile_options().strip()})")
    with tempfile.TemporaryDirectory() as folder:
        for title in sys.argv[3:] or SETS:
            count, is_clustered = SETS[title]
            rows, queries = clustered(count) if is_clustered else uniform(count)
            name = f"clustered_{title}" if is_clustered else title
            write_fvecs(Path(folder) / f"{name}.rows.fvecs", rows)
            write_fvecs(Path(folder) / f"{name}.queries.fvecs", queries)
            exact = faiss.IndexFlat(DIM, faiss.METRIC_INNER_PRODUCT if is_clustered else faiss.METRIC_L2)
            exact.add(rows)
            truth = exact.search(queries, K)[1]
            target = 0.99 if count <= 1000 else 0.98
            ready = []
            for peer in peers(rows, is_clustered):
                if peer.tune(queries[:SAMPLE], truth[:SAMPLE], target):
                    ready.append(peer)
                else:
                    print(f"{title}: {peer.name} does not reach a recall of {target}")
            times, recalls = {peer.name: [] for peer in ready}, {}
            own = []
            for _ in range(rounds):
                mean, own_recall = ours(executable, folder, title)
                own.append(mean)
                for peer in ready:
                    peer.search(queries[SAMPLE:SAMPLE + 100])
                    start = time.thread_time()
                    found = peer.search(queries[SAMPLE:])
                    times[peer.name].append((time.thread_time() - start) * 1e6 / (QUERIES - SAMPLE))
                    recalls[peer.name] = recall(found, truth[SAMPLE:])
            print(f"{title}: ours {statistics.median(own):.2f} us, recall {own_recall:.4f}")
            for peer in ready:
                ratio = statistics.median(theirs / mine for theirs, mine in zip(times[peer.name], own))
                print(f"  {peer.name:22} {statistics.median(times[peer.name]):9.2f} us, recall {recalls[peer.name]:.4f}"
                      f", effort {peer.effort}: {ratio:.2f} times ours")


if __name__ == "__main__":
    main()
