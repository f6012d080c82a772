"""Ids of many texts by Hugging Face `tokenizers` 0.23.3, for the test that PROMPTC_TEST_IDS turns on.

    V/bin/python wordpiece.py MODEL_FOLDER OUT FILE...

Texts are the lines of the files, the files in pieces of 5,000 characters, the same bytes shuffled and decoded lossily, and characters drawn
from all of Unicode (seed 7). OUT holds, for each text: its length in bytes, the bytes, the number of ids, the ids; all numbers u32.
"""

import os
import random
import struct
import sys

from tokenizers import Tokenizer

SEED = 7


def texts(files):
    draw = random.Random(SEED)
    for name in files:
        with open(name, "rb") as file:
            data = file.read()
        text = data.decode(errors="replace")
        yield from text.splitlines()
        for start in range(0, len(text), 5000):
            yield text[start : start + 5000]
        for start in range(0, min(len(data), 400_000), 4000):
            piece = bytearray(data[start : start + 4000])
            for _ in range(len(piece) // 8):
                piece[draw.randrange(len(piece))] = draw.randrange(256)
            yield piece.decode(errors="replace")
    for _ in range(2000):
        codes = (draw.choice((draw.randrange(0x250), draw.randrange(0x3000), draw.randrange(0x110000))) for _ in range(200))
        yield "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            yield f"a{chr(code)}b {chr(code)}"


def main():
    tokenizer = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with open(sys.argv[2], "wb") as out:
        for text in texts(sys.argv[3:]):
            data, ids = text.encode(), tokenizer.encode(text, add_special_tokens=False).ids
            out.write(struct.pack("<I", len(data)) + data + struct.pack(f"<I{len(ids)}I", len(ids), *ids))


if __name__ == "__main__":
    main()
