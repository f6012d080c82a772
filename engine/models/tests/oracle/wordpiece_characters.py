"""Writes src/wordpiece/characters/tables.rs: what Hugging Face `tokenizers` 0.23.3 does with each character, asked of it one by one.

python3 -m venv V && V/bin/pip install tokenizers==0.23.3 && V/bin/python wordpiece_characters.py > ../../src/wordpiece/characters/tables.rs
"""

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer


def normalizer(**on):
    names = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    return BertNormalizer(**{name: on.get(name, False) for name in names})


CLEAN, CHINESE, STRIP = (normalizer(**{name: True}) for name in ("clean_text", "handle_chinese_chars", "strip_accents"))
SPLIT = BertPreTokenizer()

TABLES = [
    ("REMOVED", "Control characters, formats and private use, which are taken out.",
     lambda char: CLEAN.normalize_str(char) == ""),
    ("SPACES", "White space.",
     lambda char: CLEAN.normalize_str(char) == " "),
    ("IDEOGRAPHS", "Characters that are words of their own.",
     lambda char: CHINESE.normalize_str(char) == f" {char} "),
    ("MARKS", "Non-spacing marks, which are accents of the character before.",
     lambda char: STRIP.normalize_str(char) == ""),
    ("PUNCTUATION", "Characters between words that are words of their own.",
     lambda char: len(SPLIT.pre_tokenize_str(f"a{char}a")) == 3),
]


def borders(holds):
    """Code points at which a class begins and ends, in turn."""
    found, inside = [], False
    for code in range(0x110000):
        surrogate = 0xD800 <= code < 0xE000
        if (not surrogate and holds(chr(code))) != inside:
            found.append(code)
            inside = not inside
    return found + [0x110000] * inside


def main():
    print("//! Made by `tests/oracle/wordpiece_characters.py`. Each list holds the code points at which a class begins and ends, in")
    print("//! turn.")
    for name, meaning, holds in TABLES:
        codes = borders(holds)
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
