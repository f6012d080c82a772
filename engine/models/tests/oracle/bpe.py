"""Writes bpe-tiny/: small byte-level BPE tokenizers of Hugging Face `tokenizers` 0.23.3, and their ids of sentences; or ids of many texts.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3 && V/bin/python bpe.py
    V/bin/python bpe.py TOKENIZER OUT FILE...

The first form trains a tokenizer for each known expression on the sentences themselves. `ids.json` holds the sentences and, by tokenizer,
their ids. The second form is for the test that PROMPTC_TEST_BPE and PROMPTC_TEST_BPE_IDS turn on. Texts are the files as a whole and in
pieces of 5,000 characters, the same bytes shuffled and decoded lossily, and characters drawn from all of Unicode (seed 7). OUT holds, for
each text: its length in bytes, the bytes, the number of ids, the ids; all numbers u32.
"""

import json
import random
import struct
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SEED = 7
HERE = Path(__file__).parent / "bpe-tiny"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
EXPRESSIONS = {
    "gpt2": None,
    "gpt2-digits": r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": LLAMA3,
    "qwen2": LLAMA3.replace("{1,3}", ""),
}
SENTENCES = [
    "The cache hit the cache, and the cache's owner didn't know that they'd hit it.",
    "We'll see what they've done; I'm sure you're right. IT'S, WE'LL, THEY'VE, I'M, YOU'RE, 'TIS, it'ſ.",
    "  two blanks   three\n\nlines\r\n \t tabs \n  \n end  ",
    "numbers 1 12 123 1234 12345, 3.14159 and ٣٤٥ or Ⅷ½ x2",
    "naïve café, Ærøskøbing; Москва и река; 東京タワー; שלום; a\u0301 and \u1e9b\u0323",
    "fn main() { println!(\"{:?}\", values[0..10].iter().map(|x| x * 2)); } // ==> ok!!!\n",
    "🙂🙃 👩\u200d👩\u200d👧 \u3000\u00a0\u2009 \u0085next\u2028line\u001c\u180e\u200b",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 6 + " " + "the cache " * 20,
    "before<|end|>behind <|end|>  <mask> <mask><mask>x <|end|><|endless|> <|en",
    "",
    "'", "''s", " 's", "'S", "\n'll", "x'", " ", "\n", "  \n\n  x", "\r\n\r\n", "!\n\nx", " !\r\n y", "\tword", "1,000,000",
]


def tiny(expression):
    tokenizer = Tokenizer(models.BPE(ignore_merges=expression is LLAMA3))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=expression is None)
    split = expression and pre_tokenizers.Split(Regex(expression), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, whole]) if split else whole
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|end|>"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # Behind the vocabulary: one that another begins with, one that takes blanks along, and one that is looked for last.
    tokenizer.add_special_tokens(["<|endless|>", AddedToken("<mask>", lstrip=True)])
    tokenizer.add_tokens([AddedToken("println", normalized=True)])
    if expression is LLAMA3:
        template = processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    elif expression is None:
        tokenizer.post_processor = processors.RobertaProcessing(("<|endless|>", tokenizer.token_to_id("<|endless|>")), ("<|end|>", 0))
    return tokenizer


def write_tiny():
    HERE.mkdir(exist_ok=True)
    found = {"sentences": SENTENCES}
    for name, expression in EXPRESSIONS.items():
        tokenizer = tiny(expression)
        (HERE / f"{name}.json").write_text(tokenizer.to_str())
        found[name] = [[tokenizer.encode(text, add_special_tokens=special).ids for special in (False, True)] for text in SENTENCES]
    (HERE / "ids.json").write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n")


def texts(files):
    draw = random.Random(SEED)
    for name in files:
        data = Path(name).read_bytes()
        text = data.decode(errors="replace")
        yield text
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
    for start in range(0, 0x110000, 256):
        codes = [code for code in range(start, start + 256) if not 0xD800 <= code < 0xE000]
        yield "".join(f"a{chr(code)}b {chr(code)}  {chr(code)}'{chr(code)}9{chr(code)}!\n" for code in codes)


def main():
    if len(sys.argv) == 1:
        return write_tiny()
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with open(sys.argv[2], "wb") as out:
        for text in texts(sys.argv[3:]):
            data, ids = text.encode(), tokenizer.encode(text, add_special_tokens=False).ids
            out.write(struct.pack("<I", len(data)) + data + struct.pack(f"<I{len(ids)}I", len(ids), *ids))


if __name__ == "__main__":
    main()
