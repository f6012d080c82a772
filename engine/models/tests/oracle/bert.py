"""What an encoder of the BERT family computes, by plain numpy in f64, and the files that tests compare with.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 tokenizers==0.23.3
    V/bin/python bert.py tiny                  writes bert-tiny/: a random model of seed 7 and its vectors
    V/bin/python bert.py minilm MODEL_FOLDER   writes bert-minilm.safetensors: vectors of all-MiniLM-L6-v2

The sentences are those of bert-sentences.json. Ids are by Hugging Face `tokenizers`.
"""

import json
import math
import os
import struct
import sys

import numpy as np
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 7
ERF = np.vectorize(math.erf, otypes=[np.float64])


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    kinds = {"F32": np.float32, "I64": np.int64}
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        values = np.ascontiguousarray(values, np.float32)
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + data)


def layer_norm(x, weights, name, epsilon):
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def hidden_of(ids, weights, config):
    """Hidden vectors of the last layer of one sequence."""
    epsilon, heads = config["layer_norm_eps"], config["num_attention_heads"]
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + weights["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, weights, "embeddings.LayerNorm", epsilon)
    for idx in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{idx}"
        parts = []
        for part in ("query", "key", "value"):
            rows = linear(x, weights, f"{name}.attention.self.{part}")
            parts.append(rows.reshape(len(ids), heads, -1).transpose(1, 0, 2))
        query, key, value = parts
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        context = (shares @ value).transpose(1, 0, 2).reshape(x.shape)
        x = x + linear(context, weights, f"{name}.attention.output.dense")
        x = layer_norm(x, weights, f"{name}.attention.output.LayerNorm", epsilon)
        inner = linear(x, weights, f"{name}.intermediate.dense")
        inner = 0.5 * inner * (1 + ERF(inner / math.sqrt(2)))
        x = x + linear(inner, weights, f"{name}.output.dense")
        x = layer_norm(x, weights, f"{name}.output.LayerNorm", epsilon)
    return x


def encode(tokenizer, text, length):
    ids = tokenizer.encode(text).ids
    return ids if len(ids) <= length else ids[: length - 1] + ids[-1:]


def read_model(folder):
    """Configuration, weights in f64 and tokenizer, without padding and without a cut."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    weights = read_safetensors(os.path.join(folder, "model.safetensors"))
    weights = {name: values.astype(np.float64) for name, values in weights.items()}
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return config, weights, tokenizer


def vectors(folder, sentences):
    """Ids and vectors: mean and first token, not scaled to length 1."""
    config, weights, tokenizer = read_model(folder)
    ids, mean, first = [], [], []
    for sentence in sentences:
        ids.append(encode(tokenizer, sentence, config["max_position_embeddings"]))
        hidden = hidden_of(ids[-1], weights, config)
        mean.append(hidden.mean(0))
        first.append(hidden[0])
    return ids, np.array(mean), np.array(first)


def tiny_tokenizer():
    signs = list("!\"#$%&'()*+,-./:;<=>?@[]_{}~") + ["§", "«", "»", "…", "€"]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789") + ["ß", "д", "о", "м", "ᄒ", "ᅡ", "ᆫ"]
    words = "the of and to in is cache hit request answer return moon tide water not found naive cafe strasse world hello".split()
    parts = ["##" + part for part in "ing ed er ly tion able un est ache".split()]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = special + signs + letters + ["##" + letter for letter in letters] + words + parts + list("東京日本語")
    assert len(tokens) == len(set(tokens))
    ids = {token: idx for idx, token in enumerate(tokens)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    piece = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    entry = lambda token: {"id": token, "ids": [ids[token]], "tokens": [token]}
    return tokens, {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[token], "content": token, **flags} for token in special],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), text, piece("[SEP]")],
            "pair": [piece("[CLS]"), text, piece("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {token: entry(token) for token in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": ids},
    }


def tiny(sentences):
    folder = os.path.join(HERE, "bert-tiny")
    os.makedirs(folder, exist_ok=True)
    tokens, tokenizer = tiny_tokenizer()
    hidden, inner, positions = 36, 40, 48
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "vocab_size": len(tokens),
        "hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": inner,
        "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    }
    random = np.random.default_rng(SEED)
    draw = lambda *shape: random.normal(0, 0.3, shape).astype(np.float32)
    weights = {}

    def norm(name):
        weights[f"{name}.weight"] = 1 + draw(hidden)
        weights[f"{name}.bias"] = draw(hidden)

    def dense(name, width, depth):
        weights[f"{name}.weight"] = draw(width, depth)
        weights[f"{name}.bias"] = draw(width)

    for name, rows in (("word", len(tokens)), ("position", positions), ("token_type", 2)):
        weights[f"embeddings.{name}_embeddings.weight"] = draw(rows, hidden)
    norm("embeddings.LayerNorm")
    for idx in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{idx}"
        for part in ("query", "key", "value"):
            dense(f"{name}.attention.self.{part}", hidden, hidden)
        dense(f"{name}.attention.output.dense", hidden, hidden)
        norm(f"{name}.attention.output.LayerNorm")
        dense(f"{name}.intermediate.dense", inner, hidden)
        dense(f"{name}.output.dense", hidden, inner)
        norm(f"{name}.output.LayerNorm")
    dense("pooler.dense", hidden, hidden)
    write_safetensors(os.path.join(folder, "model.safetensors"), weights)
    for name, value in (("config", config), ("tokenizer", tokenizer)):
        with open(os.path.join(folder, f"{name}.json"), "w") as file:
            json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
    with open(os.path.join(folder, "vocab.txt"), "w") as file:
        file.write("".join(f"{token}\n" for token in tokens))
    ids, mean, first = vectors(folder, sentences)
    with open(os.path.join(folder, "ids.json"), "w") as file:
        json.dump(ids, file, separators=(",", ":"))
    write_safetensors(os.path.join(folder, "vectors.safetensors"), {"mean": mean, "cls": first})


def minilm(folder, sentences):
    _, mean, _ = vectors(folder, sentences)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    write_safetensors(os.path.join(HERE, "bert-minilm.safetensors"), {"mean": mean})


if __name__ == "__main__":
    with open(os.path.join(HERE, "bert-sentences.json")) as file:
        SENTENCES = json.load(file)
    if sys.argv[1] == "tiny":
        tiny(SENTENCES)
    else:
        minilm(sys.argv[2], SENTENCES)
