"""Tokens a second of `embedding_generation/wordpiece` beside Hugging Face's `tokenizers`: the same texts, one thread each, in turn.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3
    cargo bench -p promptc-benches --no-default-features --bench embedding_generation --no-run
    V/bin/python benches/peers/wordpiece.py EXECUTABLE TOKENIZER [ROUNDS [TEXTS.jsonl ...]]

EXECUTABLE is what the second command names, TOKENIZER the `tokenizer.json` of a BERT model (all-MiniLM-L6-v2). TEXTS have a field `text` a
line; without them the texts are generated. They are split three ways: whole pages, paragraphs, lines. Neither side adds special tokens, cuts
or fills up; both give the same ids, or the comparison ends. The peer encodes one text a call, all in one call, and all in one call without
offsets (`encode_batch_fast`), which is what ours gives. Times are of the processor, in nanoseconds a token: of ours by criterion, of the
peer for the call alone, without reading the ids. Printed are medians of the rounds, and the median of the ratios to ours of the same round.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One thread each.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers

SEED = 7
# Bytes of text, at most.
BYTES = 1_000_000
# The title, what parts a page, and how many texts are taken at most.
SHAPES = {"pages": None, "paragraphs": r"\n\s*\n", "lines": r"\n"}


def generated():
    """Pages of words whose lengths and frequencies are like those of running text."""
    draw = random.Random(SEED)
    words = ["".join(draw.choices("etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1), k=draw.randint(1, 11))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]

    def paragraph():
        drawn = draw.choices(words, weights, k=draw.randint(20, 90))
        return " ".join(word.capitalize() + "." if draw.random() < 0.07 else word for word in drawn)

    return ["\n\n".join(paragraph() for _ in range(30)) for _ in range(100)]


def pages(paths):
    """Pages of the files up to `BYTES` bytes in all, from each file as many."""
    if not paths:
        return generated()
    kept = []
    for path in paths:
        left = BYTES // len(paths)
        for line in Path(path).read_text().splitlines():
            text = json.loads(line)["text"]
            if text.strip() and len(text.encode()) <= left:
                left -= len(text.encode())
                kept.append(text)
    return kept


def ours(executable, tokenizer, path):
    """Nanoseconds of all texts."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"PROMPTC_TEXTS": str(path), "PROMPTC_TOKENIZER": tokenizer}
        environment |= {"PROMPTC_BENCH_SLICE": "1", "CRITERION_HOME": home}
        command = [executable, "--bench", "^embedding_generation/wordpiece$", "--sample-size", "10"]
        command += ["--warm-up-time", "0.3", "--measurement-time", "1"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert json.loads((Path(home) / "slice.json").read_text())["clock"] == "cpu"
        sample = json.loads((Path(home) / "embedding_generation/wordpiece/new/sample.json").read_text())
    return statistics.median(spent / count for spent, count in zip(sample["times"], sample["iters"]))


def spent(call):
    """Nanoseconds of the processor, on all threads: the peer has one."""
    start = time.process_time_ns()
    found = call()
    return time.process_time_ns() - start, found


def main():
    executable, tokenizer = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    peer = tokenizers.Tokenizer.from_file(tokenizer)
    peer.no_truncation()
    peer.no_padding()
    ways = {
        "encode": lambda texts: [peer.encode(text, add_special_tokens=False) for text in texts],
        "encode_batch": lambda texts: peer.encode_batch(texts, add_special_tokens=False),
        "encode_batch_fast": lambda texts: peer.encode_batch_fast(texts, add_special_tokens=False),
    }
    whole = pages(sys.argv[4:])
    print(f"tokenizers {tokenizers.__version__}, {rounds} rounds; nanoseconds of the processor a token")
    for shape, border in SHAPES.items():
        texts = [part for page in whole for part in (re.split(border, page) if border else [page]) if part.strip()]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texts.jsonl"
            path.write_text("".join(json.dumps(text) + "\n" for text in texts))
            own, theirs, ids = [], {way: [] for way in ways}, None
            for _ in range(rounds):
                own.append(ours(executable, tokenizer, path))
                if ids is None:
                    ids = [json.loads(line) for line in Path(f"{path}.ids").read_text().splitlines()]
                for way, call in ways.items():
                    nanoseconds, found = spent(lambda: call(texts))
                    theirs[way].append(nanoseconds)
                    assert [one.ids for one in found] == ids, f"{way} has other ids"
        tokens = sum(map(len, ids))
        middle = statistics.median
        print(f"{shape}: {len(texts)} texts, {sum(len(text.encode()) for text in texts)} bytes, {tokens} tokens, the same ids")
        print(f"  {'ours':18} {middle(own) / tokens:7.1f}")
        for way, times in theirs.items():
            ratios = sorted(their / our for their, our in zip(times, own))
            print(f"  {way:18} {middle(times) / tokens:7.1f}  {middle(ratios):5.1f} times ours  [{ratios[0]:.1f}, {ratios[-1]:.1f}]")


if __name__ == "__main__":
    main()
