"""Answers of SciPy 1.17.1 and NumPy 2.4.6 for generated numbers: writes statistics.json beside itself.

    python -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6 && venv/bin/python statistics.py
"""
import fractions
import itertools
import json
import pathlib

import numpy as np
from scipy import stats

SEED = 20250308
MASK = (1 << 64) - 1


def splitmix64(seed):
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        yield mixed ^ (mixed >> 31)


def paired(rng):
    """The exact test needs differences of distinct size; its p is compared with the enumeration in the unit tests where there
    are ties. `p` counts sign patterns in whole numbers, since SciPy's own sum of upper tails has lost all but six digits of
    the last row. The interval is that of the order statistics at the quantile of the rank sum."""
    for count in (1, 5, 6, 7, 12, 20, 33, 60):
        for shift in (0.0, 0.1):
            base = rng.lognormal(0.0, 0.3, count)
            cand = base * np.exp(shift + rng.normal(0.0, 0.12, count))
            d = np.log(cand / base)
            walsh = np.sort([(d[i] + d[j]) / 2 for i in range(count) for j in range(i, count)])
            patterns = [1]
            for rank in range(1, count + 1):
                padded = [0] * rank
                patterns = [a + b for a, b in zip(patterns + padded, padded + patterns)]
            below = list(itertools.accumulate(patterns))
            ranks = stats.rankdata(np.abs(d)).astype(int)
            smaller = min(int(ranks[d > 0].sum()), int(ranks[d < 0].sum()))
            outside = next(idx for idx, sums in enumerate(below) if 40 * sums > 2**count) - 1
            low, high = (walsh[outside], walsh[-1 - outside]) if outside >= 0 else (None, None)
            yield {
                "base": base.tolist(),
                "cand": cand.tolist(),
                "p": float(min(fractions.Fraction(1), fractions.Fraction(2 * below[smaller], 2**count))),
                "scipy_p": stats.wilcoxon(d, method="exact").pvalue,
                "rel": np.expm1(np.median(walsh)),
                "ci_low": None if low is None else np.expm1(low),
                "ci_high": None if high is None else np.expm1(high),
            }


def mann_whitney(rng):
    for n, m, digits in ((3, 4, 9), (8, 8, 9), (8, 8, 1), (9, 8, 9), (20, 35, 9), (20, 35, 1), (200, 150, 1), (5, 60, 0)):
        base = np.round(rng.normal(10.0, 1.0, n), digits)
        cand = np.round(rng.normal(10.4, 1.2, m), digits)
        no_ties = len(set(base) | set(cand)) == n + m
        method = "exact" if max(n, m) <= 8 and no_ties else "asymptotic"
        found = stats.mannwhitneyu(cand, base, method=method)
        yield {
            "base": base.tolist(),
            "cand": cand.tolist(),
            "u": found.statistic,
            "p": found.pvalue,
            "rel": np.median(cand) / np.median(base) - 1.0,
            "shift": np.median(np.subtract.outer(cand, base)),
        }


def theil_sen(rng):
    for count, x_digits, y_digits in ((3, 9, 9), (10, 9, 9), (60, 9, 9), (60, 0, 9), (60, 9, 0), (60, 0, 0), (300, 1, 1)):
        x = np.round(rng.uniform(0.0, 20.0, count), x_digits)
        y = np.round(0.3 * x + rng.normal(0.0, 2.0, count), y_digits)
        found = stats.theilslopes(y, x, alpha=0.95)
        yield {
            "x": x.tolist(),
            "y": y.tolist(),
            "slope": found.slope,
            "low": found.low_slope,
            "high": found.high_slope,
            "p": stats.kendalltau(x, y, method="asymptotic").pvalue,
        }


def spread(rng):
    for count in (1, 2, 5, 30, 101):
        values = rng.lognormal(3.0, 0.5, count)
        yield {
            "values": values.tolist(),
            "mad": stats.median_abs_deviation(values),
            "quantiles": {str(p): np.quantile(values, p) for p in (0.0, 0.05, 0.25, 0.5, 0.9, 0.999, 1.0)},
        }


def replayed(values, level, seed):
    """The bootstrap with the same resamples: positions are the high half of count times a number of SplitMix64."""
    numbers = splitmix64(seed)
    ordered = np.sort(values)
    count = len(ordered)
    medians = [np.median([ordered[(next(numbers) * count) >> 64] for _ in range(count)]) for _ in range(2000)]
    return [np.quantile(medians, (1 - level) / 2), np.quantile(medians, 1 - (1 - level) / 2)]


def bootstrap(rng):
    """The same resamples, and the ends that SciPy gives with 50,000 of its own at a slightly lower and a slightly higher level."""
    for count, level in ((1, 0.95), (8, 0.9), (30, 0.95), (61, 0.95)):
        values = rng.lognormal(3.0, 0.3, count)
        ends = []
        for other in (level - 0.02, level + 0.02):
            if count == 1:
                ends.append([values[0], values[0]])
                continue
            found = stats.bootstrap((values,), np.median, n_resamples=50_000, confidence_level=other, method="percentile", rng=rng)
            ends.append([found.confidence_interval.low, found.confidence_interval.high])
        yield {
            "values": values.tolist(),
            "level": level,
            "seed": 7,
            "replayed": replayed(values, level, 7),
            "narrower": ends[0],
            "wider": ends[1],
        }


def wilson(_):
    for successes, count in ((0, 1), (0, 100), (3, 10), (50, 100), (99, 100), (100, 100), (12345, 99999)):
        for level in (0.9, 0.95, 0.999):
            found = stats.binomtest(successes, count).proportion_ci(level, method="wilson")
            yield {"successes": successes, "count": count, "level": level, "low": found.low, "high": found.high}


def benjamini_hochberg(rng):
    for count in (1, 2, 20, 200):
        p = np.round(rng.uniform(0.0, 1.0, count) ** 2, 3)
        yield {"p": p.tolist(), "q": stats.false_discovery_control(p).tolist()}


if __name__ == "__main__":
    answers = {"scipy": "1.17.1", "numpy": "2.4.6", "seed": SEED}
    for make in (paired, mann_whitney, theil_sen, spread, bootstrap, wilson, benjamini_hochberg):
        rng = np.random.default_rng(SEED)
        answers[make.__name__] = list(make(rng))
    lines = []
    for name, value in answers.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, separators=(",", ":"), default=float) for row in value)
            lines.append(f'"{name}": [\n{rows}\n]')
        else:
            lines.append(f'"{name}": {json.dumps(value)}')
    pathlib.Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
