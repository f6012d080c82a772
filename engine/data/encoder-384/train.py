"""Distils a sentence encoder into the small one that comes with promptc.

    V/bin/python train.py TEACHER TEXTS LONG_TEXTS WORK OUT [--minutes 57]

V is a virtual environment with torch, safetensors and tokenizers. TEACHER is a folder with all-MiniLM-L6-v2 (config.json,
model.safetensors, tokenizer.json); TEXTS and LONG_TEXTS hold a text a line, sentences and short runs of them in the first, passages in
the second. WORK takes the teacher's states of every token, some 700 bytes each in f16, and is used again. OUT gets config.json and
model.safetensors.

    teacher ── 3 of 6 layers, 576 of 1,536 inner numbers, the outer matrix fitted again by least squares ──▶ student
    texts ──▶ states of the teacher ──▶ loss(student) = mean(1 - cos) + KL of similarities in a batch + error of the states ──▶ training
    second half of the training: vectors of tokens rounded to 4 bits in each step (straight-through)  ──▶ 8-bit matrices, 4-bit tokens

The states of the tokens tell a student far more than one vector a text does (Jiao et al. 2020, "TinyBERT"); the similarities within a
batch are those of the recipe of the static table. Which layers to keep was tried on 300 texts: of all that hold layer 0, the first,
the fifth and the sixth agree most with the teacher before any training (mean cosine 0.70, the next 0.65). What was chosen by judged
retrieval was chosen on the 505 training claims of SciFact, never on test queries. Two runs on one machine agree but for the order of
floating-point sums.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn

HIDDEN, HEADS, INNER, POSITIONS = 384, 12, 576, 256
KEPT = (0, 4, 5)
TEMPERATURE = 0.05
GROUP = 128
CLIPS = (1.0, 0.85, 0.72, 0.6)
BATCH, BATCH_TOKENS = 160, 160 * 48
RATE, RATE_OF_TOKENS, WARM_UP = 6e-4, 2e-4, 100
LONG_SHARE = 0.05


class Layer(nn.Module):
    """A layer of BERT, norms behind."""

    def __init__(self, inner):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.up, self.down = nn.Linear(HIDDEN, inner), nn.Linear(inner, HIDDEN)
        self.attention_norm, self.norm = (nn.LayerNorm(HIDDEN, 1e-12) for _ in range(2))

    def attend(self, rows, mask):
        batch, length, _ = rows.shape
        heads = lambda values: values.view(batch, length, HEADS, HIDDEN // HEADS).transpose(1, 2)
        # Written out: for short texts its backward pass on a CPU is several times that of the fused form.
        scores = heads(self.query(rows)) @ heads(self.key(rows)).transpose(-1, -2) * (HIDDEN // HEADS) ** -0.5 + mask
        found = scores.softmax(-1).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else rows.dtype) @ heads(self.value(rows))
        return self.attention_norm(rows + self.output(found.transpose(1, 2).reshape(batch, length, HIDDEN)))

    def forward(self, rows, mask):
        rows = self.attend(rows, mask)
        return self.norm(rows + self.down(F.gelu(self.up(rows))))


class Encoder(nn.Module):
    """BERT: unit means of the last states, and the states."""

    def __init__(self, layers, inner, positions, vocabulary):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, HIDDEN)
        self.positions, self.kinds = nn.Embedding(positions, HIDDEN), nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, 1e-12)
        self.layers = nn.ModuleList(Layer(inner) for _ in range(layers))
        self.is_rounding = False

    def start(self, ids):
        if self.training:
            # Rows of the batch alone: gradients stay sparse, and rounding is cheap.
            used, places = torch.unique(ids, return_inverse=True)
            table = F.embedding(used, self.tokens.weight, sparse=True)
            if self.is_rounding:
                codes, scales = coded(table.detach())
                table = table + (decoded(codes, scales) - table).detach()
            rows = F.embedding(places, table)
        else:
            rows = self.tokens(ids)
        return self.norm(rows + self.positions.weight[: ids.shape[1]] + self.kinds.weight[0])

    def forward(self, ids, real):
        rows, mask = self.start(ids), (~real[:, None, None, :]).float() * -1e4
        for layer in self.layers:
            rows = layer(rows, mask)
        rows, weights = rows.float(), real.unsqueeze(-1).float()
        return F.normalize((rows * weights).sum(1) / weights.sum(1), dim=-1), rows


PARTS = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
         "output": "attention.output.dense", "attention_norm": "attention.output.LayerNorm", "up": "intermediate.dense",
         "down": "output.dense", "norm": "output.LayerNorm"}


def file_names(layers):
    """Names here and in the file."""
    names = {"tokens.weight": "embeddings.word_embeddings.weight", "positions.weight": "embeddings.position_embeddings.weight",
             "kinds.weight": "embeddings.token_type_embeddings.weight"}
    names |= {f"norm.{part}": f"embeddings.LayerNorm.{part}" for part in ("weight", "bias")}
    for idx in range(layers):
        names |= {f"layers.{idx}.{own}.{part}": f"encoder.layer.{idx}.{theirs}.{part}"
                  for own, theirs in PARTS.items() for part in ("weight", "bias")}
    return names


def teacher_of(folder):
    config = json.loads((folder / "config.json").read_text())
    model = Encoder(config["num_hidden_layers"], config["intermediate_size"], config["max_position_embeddings"], config["vocab_size"])
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({own: tensors[theirs].float() for own, theirs in file_names(len(model.layers)).items()})
    return model.eval()


def coded(table):
    """Codes of 4 bits, -7 to 7, and a scale for each group, in f16: of some clips the one with the least error."""
    groups = table.view(table.shape[0], -1, GROUP)
    most = groups.abs().amax(-1, keepdim=True)
    best = None
    for clip in CLIPS:
        scales = (most * clip / 7).clamp_min(1e-7).half().float()
        codes = (groups / scales).round().clamp(-7, 7)
        error = ((codes * scales - groups) ** 2).sum(-1, keepdim=True)
        if best is None:
            best, least = (codes, scales), error
        else:
            is_less = error < least
            best = tuple(torch.where(is_less, new, old) for new, old in zip((codes, scales), best))
            least = torch.where(is_less, error, least)
    return best[0].view(table.shape), best[1].squeeze(-1)


def decoded(codes, scales):
    return (codes.view(codes.shape[0], -1, GROUP) * scales.unsqueeze(-1)).view(codes.shape)


def lines(path):
    return [line for line in Path(path).read_text().split("\n") if line.strip()]


def padded(rows):
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, tokens in zip(ids, rows):
        row[: len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
    return ids, ids != 0


class Lessons:
    """Tokens of all texts, and what the teacher makes of each."""

    def __init__(self, teacher, folder, texts, work):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(POSITIONS)
        self.rows = [np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch(texts)]
        self.lengths = np.array([len(row) for row in self.rows])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        path = work / f"states-{len(texts)}-{self.starts[-1]}.npy"
        if not path.exists():
            self.teach(teacher, path)
        self.states = np.load(path, mmap_mode="r")

    @torch.inference_mode()
    def teach(self, teacher, path):
        new = path.with_suffix(".new")
        states = np.lib.format.open_memmap(new, "w+", np.float16, (int(self.starts[-1]), HIDDEN))
        order, first = np.argsort(self.lengths, kind="stable"), 0
        while first < len(order):
            part = order[first : first + max(1, 1536 // self.lengths[order[first]])]
            with torch.autocast("cpu", torch.bfloat16):
                _, rows = teacher(*padded([self.rows[idx] for idx in part]))
            for idx, row in zip(part, rows.float().numpy()):
                states[self.starts[idx] : self.starts[idx + 1]] = row[: self.lengths[idx]]
            first += len(part)
        states.flush()
        os.replace(new, path)

    def of(self, picked):
        """Tokens of a batch, the teacher's states of its tokens, and the unit vectors of its texts."""
        parts = [self.states[self.starts[idx] : self.starts[idx + 1]].astype(np.float32) for idx in picked]
        vectors = torch.from_numpy(np.stack([part.mean(0) for part in parts]))
        return padded([self.rows[idx] for idx in picked]), torch.from_numpy(np.concatenate(parts)), F.normalize(vectors, dim=-1)

    def batches(self, rng):
        """Batches of texts of about equal length, in random order."""
        order = np.argsort(self.lengths + rng.random(len(self.lengths)) * (1 + 0.15 * self.lengths), kind="stable")
        batches, first = [], 0
        while first < len(order):
            count = min(BATCH, max(32, BATCH_TOKENS // int(self.lengths[order[first]] * 1.1 + 1)))
            batches.append(order[first : first + count])
            first += count
        batches = [batch for batch in batches if len(batch) >= 32] or [order]
        rng.shuffle(batches)
        return batches


@torch.no_grad()
def student_of(teacher, lessons, rng):
    """Some layers of the teacher, each with the inner numbers that move most."""
    student = Encoder(len(KEPT), INNER, POSITIONS, teacher.tokens.num_embeddings)
    for name in ("tokens", "kinds", "norm"):
        getattr(student, name).load_state_dict(getattr(teacher, name).state_dict())
    student.positions.weight.copy_(teacher.positions.weight[:POSITIONS])
    sample = rng.choice(len(lessons.rows), min(700, len(lessons.rows)), replace=False)
    parts = [padded([lessons.rows[idx] for idx in sample[first : first + 64]]) for first in range(0, len(sample), 64)]
    flows = [(student.eval().start(ids), (~real[:, None, None, :]).float() * -1e4, real) for ids, real in parts]
    for place, old in enumerate(teacher.layers[idx] for idx in KEPT):
        new = student.layers[place]
        for name in ("query", "key", "value", "output", "attention_norm", "norm"):
            getattr(new, name).load_state_dict(getattr(old, name).state_dict())
        inner = torch.cat([F.gelu(old.up(old.attend(rows, mask)))[real] for rows, mask, real in flows])
        kept = (inner.std(0) * old.down.weight.norm(dim=0)).topk(INNER).indices.sort().values
        with_one = torch.cat([inner[:, kept], torch.ones(len(inner), 1)], 1).double()
        square = with_one.T @ with_one
        square += torch.eye(len(square), dtype=torch.float64) * square.diagonal().mean() * 1e-4
        solution = torch.linalg.solve(square, with_one.T @ (inner @ old.down.weight.T).double()).float()
        new.up.weight.copy_(old.up.weight[kept])
        new.up.bias.copy_(old.up.bias[kept])
        new.down.weight.copy_(solution[:-1].T)
        new.down.bias.copy_(old.down.bias + solution[-1])
        flows = [(new(rows, mask), mask, real) for rows, mask, real in flows]
    return student.train()


def loss_of(vectors, rows, wanted, states):
    hidden = torch.eye(len(vectors), dtype=torch.bool)
    own, theirs = (F.log_softmax((part @ part.T / TEMPERATURE).masked_fill(hidden, -1e4), 1) for part in (vectors, wanted))
    distance = 1 - (vectors * wanted).sum(1).mean()
    return distance + (theirs.exp() * (theirs - own)).sum(1).mean() + F.mse_loss(rows, states) / states.var(), distance


def train(student, lessons, minutes, rng):
    student.kinds.weight.requires_grad_(False)
    others = [value for name, value in student.named_parameters() if name != "tokens.weight" and value.requires_grad]
    steps = [(torch.optim.SparseAdam([student.tokens.weight], lr=1e-9, betas=(0.9, 0.98)), RATE_OF_TOKENS),
             (torch.optim.Adam(others, lr=0.0, betas=(0.9, 0.98), fused=True), RATE)]
    began, told, count, mean, queue = time.process_time(), time.time(), 0, None, []
    while (share := (time.process_time() - began) / 60 / minutes) < 1:
        student.is_rounding = share >= 0.5
        for optimizer, rate in steps:
            optimizer.param_groups[0]["lr"] = rate * min(1.0, (count + 1) / WARM_UP) * max(1e-6, 1 - share)
            optimizer.zero_grad(set_to_none=True)
        queue = queue or lessons.batches(rng)
        (ids, real), states, wanted = lessons.of(queue.pop())
        with torch.autocast("cpu", torch.bfloat16):
            vectors, rows = student(ids, real)
        loss, distance = loss_of(vectors, rows[real], wanted, states)
        loss.backward()
        nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer, _ in steps:
            optimizer.step()
        count += 1
        mean = distance.item() if mean is None else 0.98 * mean + 0.02 * distance.item()
        if time.time() - told > 30:
            told = time.time()
            print(f"step {count}, {100 * share:.0f} %, 1 - cos {mean:.4f}", flush=True)


def save(student, teacher_config, out):
    tensors, state = {}, student.state_dict()
    for own, theirs in file_names(len(student.layers)).items():
        value = state[own].float().contiguous()
        if own == "tokens.weight":
            codes, scales = coded(value)
            codes = (codes + 8).to(torch.uint8)
            tensors[theirs], tensors[f"{theirs}_scale"] = (codes[:, 0::2] | codes[:, 1::2] << 4).contiguous(), scales.half().contiguous()
        elif own in ("positions.weight", "kinds.weight"):
            tensors[theirs] = value.half()
        elif value.dim() == 2:
            scales = (value.abs().amax(1) / 127).clamp_min(1e-12)
            tensors[theirs], tensors[f"{theirs}_scale"] = (value / scales[:, None]).round().to(torch.int8), scales
        else:
            tensors[theirs] = value
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors")
    config = {name: teacher_config[name] for name in ("model_type", "hidden_act", "hidden_size", "num_attention_heads", "vocab_size",
                                                      "type_vocab_size", "layer_norm_eps")}
    config |= {"num_hidden_layers": len(KEPT), "intermediate_size": INNER, "max_position_embeddings": POSITIONS}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("teacher", "texts", "long_texts", "work", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--minutes", type=float, default=57, help="processor time of the training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    texts, long_texts = lines(arguments.texts), lines(arguments.long_texts)
    texts += long_texts[: max(1, int(len(texts) * LONG_SHARE))]
    teacher = teacher_of(arguments.teacher)
    lessons = Lessons(teacher, arguments.teacher, texts, arguments.work)
    student = student_of(teacher, lessons, rng)
    train(student, lessons, arguments.minutes, rng)
    save(student, json.loads((arguments.teacher / "config.json").read_text()), arguments.out)


if __name__ == "__main__":
    main()
