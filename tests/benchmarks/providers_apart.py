"""ONNX Runtime and OpenVINO, which `tests.benchmarks.providers` compares, in an environment that has both.

    build/providers/bin/python tests/benchmarks/providers_apart.py model.onnx

This file imports nothing of Lookalike, as OpenVINO (180 MB) is not among what Lookalike installs. It prints JSON.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
RUNS = 2
BATCHES = (1, 8)
PACKAGES = ("onnxruntime", "openvino", "numpy")

Way = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def main() -> None:
    """Print as JSON the milliseconds for a picture, and the least cosine between the two."""
    runtime, openvino = importlib.import_module("onnxruntime"), importlib.import_module("openvino")
    path = sys.argv[1]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options)
    core = openvino.Core()
    one_thread = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", one_thread)
    given = session.get_inputs()[0]
    batches: list[dict[str, Any]] = []
    for count in BATCHES:
        batch = np.random.default_rng(0).integers(0, 256, (count, *given.shape[1:]), dtype=np.uint8)
        ways: dict[str, Way] = {
            "ONNX Runtime": lambda pixels: session.run(None, {given.name: pixels})[0],
            "OpenVINO": lambda pixels: compiled([pixels])[0],
        }
        vectors = [way(batch) / np.linalg.norm(way(batch), axis=1, keepdims=True) for way in ways.values()]
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                started = time.process_time()
                for _ in range(RUNS):
                    way(batch)
                spent[name].append(1000 * (time.process_time() - started) / RUNS / count)
        batches.append(
            {
                "pictures": count,
                "ms": {name: statistics.median(each) for name, each in spent.items()},
                "cosine": float((vectors[0] * vectors[1]).sum(axis=1).min()),
            }
        )
    sys.stdout.write(json.dumps({"versions": {name: version(name) for name in PACKAGES}, "batches": batches}))


if __name__ == "__main__":
    main()
