"""MinHash signatures of `compression/minhash` beside rensa: the same texts, 128 permutations, runs of five words, one thread each, in turn.

    python3 -m venv V && V/bin/pip install rensa==0.5.0
    cargo bench -p promptc-benches --no-default-features --bench compression --no-run
    V/bin/python benches/peers/minhash.py EXECUTABLE [ROUNDS [TEXTS.jsonl ...]]

EXECUTABLE is what the second command names. TEXTS have a field `text` a line; without them the texts are generated. They are whole pages, and
paragraphs; blank lines are taken out of the pages, so that a page is one block to us as it is one set to the peer.

Ours begins with the text: words, lower case, runs of five, minima; the stage `minhash` also makes the hash for exact copies and counts
tokens (`exact_dedup`), and the difference is what MinHash alone takes. rensa begins with strings, so Python makes the runs; printed are the
time of Python, of rensa on the strings that Python made, and their sum, which is what a text costs there. `update` is an RMinHash per text
with its digest, `matrix` one call for all (`digest_matrix_from_token_sets`). Its `_rho` variant is left out: of a long text it reads a sample
of the runs. Times are of the processor, in nanoseconds a run; medians of the rounds, and of the ratios to ours of the same round.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One thread each.
os.environ["RAYON_NUM_THREADS"] = "1"

import rensa
from wordpiece import pages

PERMUTATIONS, WORDS, SEED = 128, 5, 7
# Fewest words of a text: shorter ones have no signature here.
WORDS_MIN = 12
WORD = re.compile(r"[^\W_]+")
BLANK = re.compile(r"\n\s*\n")


def runs(text):
    """Every run of five words in lower case."""
    words = WORD.findall(text.lower())
    return [" ".join(words[idx:idx + WORDS]) for idx in range(len(words) - WORDS + 1)]


def update(documents):
    found = []
    for document in documents:
        one = rensa.RMinHash(num_perm=PERMUTATIONS, seed=SEED)
        one.update(document)
        found.append(one.digest())
    return found


def matrix(documents):
    return rensa.RMinHash.digest_matrix_from_token_sets(documents, PERMUTATIONS, SEED)


def spent(call):
    """Nanoseconds of the processor, on all threads: the peer has one."""
    start = time.process_time_ns()
    found = call()
    return time.process_time_ns() - start, found


def ours(executable, path):
    """Nanoseconds of all texts: all of a signature, and without MinHash."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"PROMPTC_TEXTS": str(path), "PROMPTC_BENCH_SLICE": "1", "CRITERION_HOME": home}
        command = [executable, "--bench", "^compression/(minhash|exact_dedup)$", "--sample-size", "10"]
        command += ["--warm-up-time", "0.3", "--measurement-time", "0.7"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert json.loads((Path(home) / "slice.json").read_text())["clock"] == "cpu"
        sample = lambda stage: json.loads((Path(home) / f"compression/{stage}/new/sample.json").read_text())
        samples = [sample(stage) for stage in ("minhash", "exact_dedup")]
    return [statistics.median(spent / count for spent, count in zip(one["times"], one["iters"])) for one in samples]


def main():
    executable, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7
    whole = pages(sys.argv[3:])
    parts = {"pages": [BLANK.sub("\n", page) for page in whole], "paragraphs": [part for page in whole for part in BLANK.split(page)]}
    print(f"{rounds} rounds; nanoseconds of the processor a run of {WORDS} words")
    for shape, texts in parts.items():
        texts = [text for text in texts if len(WORD.findall(text)) >= WORDS_MIN]
        times = {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texts.jsonl"
            path.write_text("".join(json.dumps(text) + "\n" for text in texts))
            for _ in range(rounds):
                signature, exact = ours(executable, path)
                found = {"ours, all of a signature": signature, "ours, MinHash alone": signature - exact}
                for way in (update, matrix):
                    # New strings each time: those of a text that is seen for the first time are in no cache.
                    python, documents = spent(lambda: [runs(text) for text in texts])
                    alone, _ = spent(lambda: way(documents))
                    found |= {"Python, the runs": python, f"rensa {way.__name__}, the runs given": alone}
                    found[f"rensa {way.__name__}, from the text"] = python + alone
                for name, nanoseconds in found.items():
                    times.setdefault(name, []).append(nanoseconds)
        count = sum(map(len, documents))
        print(f"{shape}: {len(texts)} texts, {sum(len(text.encode()) for text in texts)} bytes, {count} runs")
        for name, values in times.items():
            ratios = [sorted(value / our for value, our in zip(values, times[f"ours, {of}"])) for of in ("all of a signature", "MinHash alone")]
            shown = "  ".join(f"{statistics.median(one):6.2f} [{one[0]:.2f}, {one[-1]:.2f}]" for one in ratios)
            print(f"  {name:32} {statistics.median(values) / count:7.1f}   to all, to MinHash alone: {shown}")


if __name__ == "__main__":
    main()
