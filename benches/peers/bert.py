"""Sentences a second of `embedding_generation/bert/*` beside ONNX Runtime: the same shape, one thread each, in turn.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
    cargo bench -p promptc-benches --no-default-features --profile dev --bench embedding_generation --no-run
    V/bin/python benches/peers/bert.py EXECUTABLE [ROUNDS]

EXECUTABLE is what the second command names. Both have random weights in the shape of all-MiniLM-L6-v2 and sentences of 33 tokens; ours splits
texts into tokens too, the peer is given ids. The peer's graph is of standard operators, which it fuses itself: at batches of 8 and 32 faster
than its own operators for attention and for sums with a norm (0.85 of it), at batch 1 as well (0.9). Printed are the medians of the rounds, in
sentences per second of the thread's processor time and of wall time, and the median of the ratios of neighbours.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

# One thread each, and no choice of another build's kernels.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SEED = 7
VOCABULARY, HIDDEN, INTERMEDIATE, LAYERS, HEADS, POSITIONS, TOKENS = 30522, 384, 1536, 6, 12, 512, 33
BATCHES = (1, 8, 32)
# Seconds of one observation.
SECONDS = 1.5


class Graph:
    """Nodes and weights of an encoder, in standard operators."""

    def __init__(self):
        self.nodes, self.weights, self.random = [], [], np.random.default_rng(SEED)

    def constant(self, values):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def draw(self, *shape):
        return self.constant(self.random.uniform(-0.05, 0.05, shape).astype(np.float32))

    def integers(self, *values):
        return self.constant(np.array(values, np.int64))

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def add(self, kind, *inputs, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def linear(self, x, depth, width):
        return self.add("Add", self.add("MatMul", x, self.draw(depth, width)), self.draw(width))

    def norm(self, x):
        gain = self.constant(np.ones(HIDDEN, np.float32))
        return self.add("LayerNormalization", x, gain, self.draw(HIDDEN), axis=-1, epsilon=1e-12)

    def layer(self, x, masked):
        heads = self.integers(0, 0, HEADS, HIDDEN // HEADS)
        part = lambda order: self.add("Transpose", self.add("Reshape", self.linear(x, HIDDEN, HIDDEN), heads), perm=order)
        query, key, value = part([0, 2, 1, 3]), part([0, 2, 3, 1]), part([0, 2, 1, 3])
        scores = self.add("Div", self.add("MatMul", query, key), self.number((HIDDEN / HEADS) ** 0.5))
        shares = self.add("Softmax", self.add("Add", scores, masked), axis=-1)
        context = self.add("Transpose", self.add("MatMul", shares, value), perm=[0, 2, 1, 3])
        context = self.add("Reshape", context, self.integers(0, 0, HIDDEN))
        x = self.norm(self.add("Add", self.linear(context, HIDDEN, HIDDEN), x))
        inner = self.linear(x, HIDDEN, INTERMEDIATE)
        share = self.add("Add", self.add("Erf", self.add("Div", inner, self.number(2**0.5))), self.number(1))
        inner = self.add("Mul", self.add("Mul", inner, share), self.number(0.5))
        return self.norm(self.add("Add", self.linear(inner, INTERMEDIATE, HIDDEN), x))

    def encoder(self):
        tokens = self.add("Gather", self.draw(VOCABULARY, HIDDEN), "ids")
        length = self.add("Gather", self.add("Shape", "ids"), self.integers(1))
        positions = self.add("Slice", self.draw(POSITIONS, HIDDEN), self.integers(0), length)
        x = self.norm(self.add("Add", tokens, positions))
        wide = self.add("Unsqueeze", self.add("Unsqueeze", "mask", self.integers(1)), self.integers(2))
        masked = self.add("Mul", self.add("Sub", self.number(1), wide), self.number(-1e9))
        for _ in range(LAYERS):
            x = self.layer(x, masked)
        kept = self.add("Mul", x, self.add("Unsqueeze", "mask", self.integers(2)))
        count = self.add("ReduceSum", "mask", self.integers(1), keepdims=1)
        mean = self.add("Div", self.add("ReduceSum", kept, self.integers(1), keepdims=0), count)
        square = self.add("ReduceSum", self.add("Mul", mean, mean), self.integers(1), keepdims=1)
        self.nodes.append(helper.make_node("Div", [mean, self.add("Sqrt", square)], ["vectors"]))
        value = helper.make_tensor_value_info
        inputs = [value("ids", TensorProto.INT64, ["batch", "length"]), value("mask", TensorProto.FLOAT, ["batch", "length"])]
        outputs = [value("vectors", TensorProto.FLOAT, ["batch", HIDDEN])]
        graph = helper.make_graph(self.nodes, "encoder", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def peer():
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(Graph().encoder().SerializeToString(), options, providers=["CPUExecutionProvider"])


def of_peer(session, batch):
    """Sentences per second of processor time, and of wall time."""
    inputs = {
        "ids": np.random.default_rng(SEED).integers(1000, VOCABULARY, (batch, TOKENS)),
        "mask": np.ones((batch, TOKENS), np.float32),
    }
    session.run(None, inputs)
    count, cpu, wall = 0, time.thread_time(), time.perf_counter()
    while time.perf_counter() - wall < SECONDS:
        session.run(None, inputs)
        count += batch
    return count / (time.thread_time() - cpu), count / (time.perf_counter() - wall)


def of_ours(executable, batch):
    """As above, by criterion in one process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CRITERION_HOME": folder, "PROMPTC_BENCH_SLICE": "1"}
        command = [executable, "--bench", f"embedding_generation/bert/{batch}$", "--sample-size", "10"]
        command += ["--warm-up-time", "0.5", "--measurement-time", str(SECONDS)]
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
        subprocess.run(command, env=environment, cwd=here, check=True, capture_output=True)
        with open(os.path.join(folder, "slice.json")) as file:
            found = json.load(file)
        with open(os.path.join(folder, f"embedding_generation/bert/{batch}/new/sample.json")) as file:
            sample = json.load(file)
    assert found["clock"] == "cpu"
    cpu = batch * 1e9 / statistics.median(spent / count for spent, count in zip(sample["times"], sample["iters"]))
    return cpu, cpu / found["wall_per_cpu"]


def main():
    executable, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7
    session = peer()
    print("batch  clock  ours  onnxruntime  ratio  [least, largest]")
    for batch in BATCHES:
        pairs = [(of_ours(executable, batch), of_peer(session, batch)) for _ in range(rounds)]
        for idx, clock in enumerate(("cpu", "wall")):
            ours, peers = ([side[idx] for side in sides] for sides in zip(*pairs))
            ratios = sorted(our / their for our, their in zip(ours, peers))
            middle = statistics.median
            print(f"{batch:5}  {clock:5}  {middle(ours):4.0f}  {middle(peers):11.0f}  {middle(ratios):5.2f}  [{ratios[0]:.2f}, {ratios[-1]:.2f}]")


if __name__ == "__main__":
    main()
