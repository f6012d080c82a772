"""What a static table makes of the sentences of bert-sentences.json, by plain numpy, and the file that tests compare with.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 tokenizers==0.23.3
    V/bin/python static.py       writes static-tiny.safetensors: random rows of seed 7 for the tokenizer of bert-tiny/, and vectors

Each step is a single operation of f32 or f64 that rounds once, so the vectors are exact: they are compared bit by bit. Ids are by
Hugging Face `tokenizers`.
"""

import json
import os

import numpy as np
from bert import HERE, SEED, write_safetensors
from tokenizers import Tokenizer

DIM = 20


def codes_of(rows):
    """Rows in 255 steps of one size, half away from zero."""
    scale = np.abs(rows).max() / np.float32(127)
    steps = rows / scale
    assert steps.dtype == np.float32
    return np.trunc(steps + np.copysign(np.float32(0.5), steps)).astype(np.int64)


def vector_of(ids, codes):
    total = codes[ids].sum(0).astype(np.float64)
    square = (total * total).sum()
    factor = 1.0 / np.sqrt(square) if square > 0 else 0.0
    return (total * factor).astype(np.float32)


if __name__ == "__main__":
    with open(os.path.join(HERE, "bert-sentences.json")) as file:
        sentences = json.load(file)
    tokenizer = Tokenizer.from_file(os.path.join(HERE, "bert-tiny/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = np.random.default_rng(SEED).normal(0, 0.3, (tokenizer.get_vocab_size(), DIM)).astype(np.float32)
    codes = codes_of(rows)
    ids = [tokenizer.encode(sentence, add_special_tokens=False).ids for sentence in sentences]
    vectors = np.array([vector_of(np.array(of_one, np.int64), codes) for of_one in ids])
    write_safetensors(os.path.join(HERE, "static-tiny.safetensors"), {"rows": rows, "vectors": vectors})
