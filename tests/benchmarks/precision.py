"""How fast encoders are in 8 bits, beside 32: `python -m tests.benchmarks.precision [--rounds 15] [--output FILE]`.

The model alone, on ready pixels, all in turn in each round. What it costs in hits, `quality` says:
`python -m tests.benchmarks.quality FOLDER --encoders efficientnet-lite0 efficientnet-lite0+int8`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.tasks.encoders.base import INT8_SUFFIX, MODEL_FILE
from lookalike.tasks.encoders.export import measure_least_cosine, read_pictures
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from tests.benchmarks.results import add_output, spread, write_result, write_table

THREADS = (1, 2)
BATCHES = (1, 8)
PRECISIONS = {"float32": "", "int8": INT8_SUFFIX}


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Return milliseconds a picture of each precision, by threads and pictures in a batch, and the least cosine."""
    with tempfile.TemporaryDirectory(prefix="lookalike-precision-") as folder:
        opened = {
            (precision, threads): _open(name + suffix, Path(folder) / precision, threads)
            for precision, suffix in PRECISIONS.items()
            for threads in THREADS
        }
    sizes = {precision: size for (precision, _), (_, size) in opened.items()}
    encoders = {key: encoder for key, (encoder, _) in opened.items()}
    pixels = np.stack([encoders["float32", 1].prepare(picture) for picture in read_pictures()])
    pixels = np.resize(pixels, (max(BATCHES), *pixels.shape[1:]))
    taken: dict[str, dict[str, list[float]]] = {}
    for round_ in range(rounds + 1):
        for (precision, threads), encoder in encoders.items():
            for batch in BATCHES:
                began = time.perf_counter()
                encoder.infer(pixels[:batch])
                milliseconds = 1000 * (time.perf_counter() - began) / batch
                if round_:  # the first one warms up
                    way = taken.setdefault(f"{threads} threads, batches of {batch}", {})
                    way.setdefault(precision, []).append(milliseconds)
    least = measure_least_cosine(encoders["float32", 1], encoders["int8", 1])
    return {"bytes": sizes, "least_cosine": least, "ms": taken}


def _open(name: str, folder: Path, threads: int) -> tuple[OnnxEncoder, int]:
    folder.mkdir(exist_ok=True)
    model = folder / MODEL_FILE
    spec = find_source(name).export(folder)
    return OnnxEncoder(model, spec, threads=threads), model.stat().st_size


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return a row for each encoder and shape of its batches, as Markdown."""
    rows = [
        [name, way, *(spread(ms[precision], 1) for precision in PRECISIONS), _gain(ms)]
        for name, one in figures.items()
        for way, ms in one["ms"].items()
    ]
    said = "; ".join(
        f"`{name}`: {one['bytes']['float32'] / 1e6:.1f} and {one['bytes']['int8'] / 1e6:.1f} MB, cosine at least "
        f"{one['least_cosine']:.4f}"
        for name, one in figures.items()
    )
    columns = ["encoder", "", "float32, ms a picture", "int8", "rate of int8"]
    return f"{write_table(columns, rows)}\n\nThe models' files, and pictures' vectors beside each other: {said}."


def _gain(ms: dict[str, list[float]]) -> str:
    full, quantized = (statistics.median(ms[precision]) for precision in PRECISIONS)
    return f"**{full / quantized:.2f}**"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=[f"efficientnet-lite{size}" for size in range(3)])
    parser.add_argument("--rounds", type=int, default=15)
    add_output(parser)
    given = parser.parse_args()
    figures = {name: measure(name, given.rounds) for name in given.encoders}
    sys.stdout.write(f"{table(figures)}\n")
    if given.output:
        write_result(given.output, figures)


if __name__ == "__main__":
    main()
