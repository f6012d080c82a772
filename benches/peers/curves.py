"""Latency against recall of `patterns` and its peers, as a picture and as a table: one thread, the same vectors.

    V/bin/python benches/peers/curves.py EXECUTABLE OUT.svg [SET [ROUNDS]]

Set up as `search.py` says; SET is one of its sets, 100000 if none is given. Each library runs through its efforts, ours through recalls
that its calibration is asked for; a point is the median of the rounds, which take all libraries in turn. Times are of the thread's
processor. What lies to the right and below is better. The vectors are drawn, not embeddings of texts: real ones may order the libraries
differently, and so does another processor.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import faiss

from search import DIM, EFFORTS, K, QUERIES, SAMPLE, SETS, clustered, ours, peers, recall, uniform, write_fvecs

TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
LEAST = 0.8
COLOURS = ("#0b63a5", "#b3541e", "#3f7d20", "#7a3e9d", "#a11d46", "#5c6670", "#8a6d00")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 460, 70, 30, 640, 400


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


def picture(curves, title):
    """The curves over a linear scale of recall and a logarithmic one of time."""
    from math import ceil, floor, log10

    times = [microseconds for points in curves.values() for _, microseconds in points]
    low, high = floor(log10(min(times))), ceil(log10(max(times)))
    place_x = lambda share: LEFT + (share - LEAST) / (1 - LEAST) * (RIGHT - LEFT)
    place_y = lambda value: BOTTOM - (log10(value) - low) / (high - low) * (BOTTOM - TOP)
    text = lambda x, y, words, anchor="middle", colour="#444": (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>')
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for power in range(low, high + 1):
        y = place_y(10**power)
        parts += [f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#ddd"/>', text(LEFT - 8, y + 4, f"{10**power:g} us", "end")]
    for share in (0.8, 0.85, 0.9, 0.95, 1.0):
        x = place_x(share)
        parts += [f'<path d="M{x:.1f} {TOP}V{BOTTOM}" stroke="#eee"/>', text(x, BOTTOM + 18, f"{share:.2f}")]
    parts += [text((LEFT + RIGHT) / 2, BOTTOM + 40, f"recall of the {K} nearest, {title} vectors of {DIM} numbers"),
              text(LEFT, TOP - 12, "time of a query, one thread", "start")]
    for idx, (name, points) in enumerate(curves.items()):
        colour = COLOURS[idx % len(COLOURS)]
        points = sorted(points)
        line = " ".join(f"{'M' if place == 0 else 'L'}{place_x(share):.1f} {place_y(value):.1f}"
                        for place, (share, value) in enumerate(points))
        wide = 2.5 if name == "promptc" else 1.3
        parts.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="{wide}"/>')
        parts += [f'<circle cx="{place_x(share):.1f}" cy="{place_y(value):.1f}" r="3" fill="{colour}"/>' for share, value in points]
        y = TOP + 16 + 20 * idx
        parts += [f'<path d="M{RIGHT + 20} {y - 4}h22" stroke="{colour}" stroke-width="{wide}"/>',
                  text(RIGHT + 50, y, name if points else f"{name}: below {LEAST}", "start", colour)]
    return "\n".join([*parts, "</svg>", ""])


def main():
    executable, out = sys.argv[1], Path(sys.argv[2])
    title = sys.argv[3] if len(sys.argv) > 3 else "100000"
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    curves = measure(executable, title, rounds)
    for name, points in curves.items():
        print(name, "  ".join(f"{share:.4f}: {value:.1f} us" for share, value in points))
    out.write_text(picture(curves, title))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
