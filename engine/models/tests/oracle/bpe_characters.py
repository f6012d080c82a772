"""Writes src/bpe/split/tables.rs: what the split patterns of Hugging Face `tokenizers` 0.23.3 take each character for, asked of it one by one.

python3 -m venv V && V/bin/pip install tokenizers==0.23.3 && V/bin/python bpe_characters.py > ../../src/bpe/split/tables.rs
"""

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

TABLES = [
    ("LETTERS", "Letters, `\\p{L}`.", Split(Regex(r"\p{L}"), "removed")),
    ("NUMBERS", "Numbers, `\\p{N}`.", Split(Regex(r"\p{N}"), "removed")),
    ("BLANKS", "White space, `\\s`.", Split(Regex(r"\s"), "removed")),
]


def borders(pattern):
    """Code points at which a class begins and ends, in turn."""
    found, inside = [], False
    for code in range(0x110000):
        surrogate = 0xD800 <= code < 0xE000
        if (not surrogate and not pattern.pre_tokenize_str(chr(code))) != inside:
            found.append(code)
            inside = not inside
    return found + [0x110000] * inside


def main():
    print("//! Made by `tests/oracle/bpe_characters.py`. Each list holds the code points at which a class begins and ends, in turn.")
    for name, meaning, pattern in TABLES:
        codes = borders(pattern)
        print(f"\n/// {meaning}\npub(super) const {name}: [u32; {len(codes)}] = [")
        line = "   "
        for code in codes:
            item = f" 0x{code:x},"
            if len(line) + len(item) > 110:
                print(line)
                line = "   "
            line += item
        print(line + "\n];")


if __name__ == "__main__":
    main()
