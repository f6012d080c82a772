"""Change points that Apache Otava 0.8.0 finds in generated series: writes change_points.json beside itself.

    python -m venv venv && venv/bin/pip install apache-otava==0.8.0 && venv/bin/python change_points.py

The series are not stored: `series` below and the test draw the same doubles from SplitMix64 (integers and one division,
sums of twelve uniform numbers in place of normal ones, no function whose last bit differs by platform).
"""
import functools
import json
import operator
import pathlib

from otava.analysis import compute_change_points

SERIES = 1000
MASK = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return mixed ^ (mixed >> 31)

    def uniform(self):
        return (self.next() >> 11) / (1 << 53)

    def normal(self):
        total = 0.0
        for _ in range(12):
            total += self.uniform()
        return total - 6.0


def series(seed):
    """8 to 300 values around a level with up to four steps of 2 to 30 %, noise of 0.5 to 8 %, in some with wild values,
    a drift or rounding to a coarse grid."""
    random = SplitMix64(seed)
    count = 8 + int(random.uniform() * 293)
    noise = 0.005 + 0.075 * random.uniform()
    steps = []
    for _ in range(int(random.uniform() * 5)):
        at = int(random.uniform() * count)
        size = 0.02 + 0.28 * random.uniform()
        steps.append((at, 1.0 + size if random.next() & 1 else 1.0 - size))
    kind = random.next() % 8
    wild = 0.05 if kind in (0, 1) else 0.0
    drift = 0.1 / count if kind == 2 else 0.0
    grid = 2.0 if kind in (3, 4) else 0.0
    values = []
    for idx in range(count):
        level = 100.0
        for at, factor in steps:
            if idx >= at:
                level = level * factor
        value = level * (1.0 + noise * random.normal() + drift * idx)
        if random.uniform() < wild:
            value = value * 1.5
        if grid:
            value = float(int(value / grid)) * grid
        values.append(value)
    return values


def found(seed):
    points, _ = compute_change_points(series(seed), window_len=50, max_pvalue=0.001, min_magnitude=0.0)
    return [int(point.index) for point in points]


if __name__ == "__main__":
    answers = [found(seed) for seed in range(SERIES)]
    sums = [functools.reduce(operator.add, series(seed), 0.0) for seed in (0, 1, 2)]
    path = pathlib.Path(__file__).with_suffix(".json")
    head = json.dumps({"otava": "0.8.0", "window": 50, "p": 0.001, "min_rel": 0.0, "sums_of_first_series": sums})
    rows = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in answers)
    path.write_text(head[:-1] + ',\n"indexes": [\n' + rows + "\n]}\n")
    print(sum(map(len, answers)), "points in", len(answers), "series")
