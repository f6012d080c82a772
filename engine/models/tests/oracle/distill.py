"""The rows that distillation makes of the tiny encoder, by plain numpy in f64, and the file that tests compare with.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 tokenizers==0.23.3
    V/bin/python distill.py      writes distill-tiny.safetensors: rows of single pieces, and rows after six steps on the sentences

All sentences are one batch and nothing is left out, so the rows do not depend on drawn numbers. Weights, directions, loss, gradient
and steps are written from their definitions.
"""

import json
import os

import numpy as np
from bert import HERE, encode, hidden_of, read_model, write_safetensors

DIM, STEPS, WARMUP = 12, 6, 2
TEMPERATURE, DECAY, SMOOTHING, LENGTH_POWER = 0.05, 1e-3, 1e-4, 0.75
RATES = {"map": 1e-2, "rows": 2e-2, "log_weights": 5e-2}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def directions(vectors):
    _, _, right = np.linalg.svd(vectors, full_matrices=False)
    right = right[:DIM]
    signs = np.sign(right[np.arange(DIM), np.abs(right).argmax(1)])
    return (right * signs[:, None]).T


def shares(vectors):
    scores = vectors @ vectors.T / TEMPERATURE
    np.fill_diagonal(scores, -np.inf)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def gradient(state, pieces, counts, targets):
    """`counts` is [texts, ids]: how often a piece stands in a text, over the square root of the length of the text."""
    weights = np.exp(state["log_weights"])
    weighted = counts * weights
    sums = weighted @ pieces
    vectors = sums @ state["map"] + weighted @ state["rows"]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / lengths
    slopes = (shares(units) - shares(targets)) / len(units)
    by_unit = (slopes + slopes.T) @ units / TEMPERATURE - targets / len(units)
    by_vector = (by_unit - units * (by_unit * units).sum(1, keepdims=True)) / lengths
    by_row = counts.T @ by_vector
    by_sum = counts.T @ (by_vector @ state["map"].T)
    places = state["places"]
    return {
        "map": sums.T @ by_vector,
        "rows": weights[:, None] * by_row + 2 * DECAY * (places / places.sum())[:, None] * state["rows"],
        "log_weights": weights * ((pieces * by_sum).sum(1) + (state["rows"] * by_row).sum(1)),
    }


def refined(pieces, ids, sentences, right, first_log_weights):
    targets = unit(sentences @ right)
    counts = np.zeros((len(ids), len(pieces)))
    for row, of_one in zip(counts, ids):
        np.add.at(row, of_one, 1)
    places = counts.sum(0)
    counts /= np.sqrt(counts.sum(1, keepdims=True))
    state = {"map": right, "rows": np.zeros((len(pieces), DIM)), "log_weights": first_log_weights.copy(), "places": places}
    means = {name: np.zeros_like(state[name]) for name in RATES}
    squares = {name: np.zeros_like(state[name]) for name in RATES}
    for step in range(STEPS):
        pace = min((step + 1) / (WARMUP + 1), (STEPS - step) / (STEPS - WARMUP), 1)
        for name, slope in gradient(state, pieces, counts, targets).items():
            means[name] = 0.9 * means[name] + 0.1 * slope
            squares[name] = 0.999 * squares[name] + 0.001 * slope**2
            mean, square = means[name] / (1 - 0.9 ** (step + 1)), squares[name] / (1 - 0.999 ** (step + 1))
            state[name] = state[name] - pace * RATES[name] * mean / (np.sqrt(square) + 1e-8)
    rows = np.exp(state["log_weights"])[:, None] * (pieces @ state["map"] + state["rows"])
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.where(lengths > 0, lengths, 1) ** (LENGTH_POWER - 1)


if __name__ == "__main__":
    folder = os.path.join(HERE, "bert-tiny")
    with open(os.path.join(HERE, "bert-sentences.json")) as file:
        sentences = json.load(file)
    config, model, tokenizer = read_model(folder)
    vocabulary, special = tokenizer.get_vocab_size(), 5
    cls, sep, the = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "the"))
    vector = lambda ids: unit(hidden_of(ids, model, config).mean(0))
    pieces = np.zeros((vocabulary, config["hidden_size"]))
    pieces[special:] = [vector([cls, idx, sep]) for idx in range(special, vocabulary)]
    pieces[special:] -= pieces[special:].mean(0)
    ranks = np.maximum(np.arange(vocabulary) - the + 1, 1)
    frequency = 1 / (ranks * (1 / np.arange(1, vocabulary - the + 1)).sum())
    log_weights = np.log(SMOOTHING / (SMOOTHING + frequency))
    single = np.exp(log_weights)[:, None] * (pieces @ directions(pieces))
    taught = np.array([vector(encode(tokenizer, text, config["max_position_embeddings"])) for text in sentences])
    ids = [[idx for idx in tokenizer.encode(text, add_special_tokens=False).ids if idx >= special] for text in sentences]
    kept = [row for row, of_one in enumerate(ids) if of_one]
    # Directions are those of all sentences, targets only those with pieces.
    after = refined(pieces, [ids[row] for row in kept], taught[kept], directions(taught), log_weights)
    write_safetensors(os.path.join(HERE, "distill-tiny.safetensors"), {"single": single, "refined": after})
