"""How fast encoders are in smaller numbers: `python -m tests.benchmarks.precision [--rounds 15] [--output FILE]`.

The model alone, on ready pixels, by ONNX Runtime and by OpenVINO, all in turn in each round. What it costs in hits,
`quality` says: `python -m tests.benchmarks.quality FOLDER --encoders efficientnet-lite0 efficientnet-lite0+int8`.
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
from numpy.typing import NDArray

from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec, scale_to_unit_length
from lookalike.tasks.encoders.export import read_pictures
from lookalike.tasks.encoders.onnx import OnnxEncoder, open_session
from lookalike.tasks.encoders.openvino import OpenVinoSession
from lookalike.tasks.encoders.precision.names import Precision, with_precision
from lookalike.tasks.encoders.registry import find_source
from tests.benchmarks.results import add_output, spread, write_result, write_table

THREADS = (1, 2)
BATCHES = (1, 8)
PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "bfloat16")
BASE = "float32, ONNX Runtime"
WAYS: dict[str, Precision] = {
    BASE: "float32",
    "float32, OpenVINO": "float32",
    "int8, ONNX Runtime": "int8",
    "int8, OpenVINO": "int8",
    "bfloat16, OpenVINO": "bfloat16",
}


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Return milliseconds a picture of each way, by threads and pictures in a batch, bytes, and least cosines."""
    with tempfile.TemporaryDirectory(prefix="lookalike-precision-") as scratch:
        specs = {precision: _export(name, precision, Path(scratch)) for precision in PRECISIONS}
        models = {precision: Path(scratch) / precision / MODEL_FILE for precision in PRECISIONS}
        spec = specs["float32"]
        pixels = _read_pixels(models["float32"], spec)
        sessions = {
            (way, threads): _open(way, models[precision], threads)
            for way, precision in WAYS.items()
            for threads in THREADS
        }
        sizes = {precision: model.stat().st_size for precision, model in models.items()}
    taken: dict[str, dict[str, list[float]]] = {}
    for round_ in range(rounds + 1):
        for (way, threads), session in sessions.items():
            for batch in BATCHES:
                began = time.perf_counter()
                session.run([spec.output_name], {spec.input_name: pixels[:batch]})
                milliseconds = 1000 * (time.perf_counter() - began) / batch
                if round_:  # the first one warms up
                    shape = f"{threads} {'thread' if threads == 1 else 'threads'}, batches of {batch}"
                    taken.setdefault(shape, {}).setdefault(way, []).append(milliseconds)
    vectors = {
        way: scale_to_unit_length(session.run([spec.output_name], {spec.input_name: pixels})[0])
        for (way, threads), session in sessions.items()
        if threads == 1
    }
    least = {way: float((found * vectors[BASE]).sum(axis=1).min()) for way, found in vectors.items()}
    return {"bytes": sizes, "least_cosine": least, "ms": taken}


def _export(name: str, precision: Precision, scratch: Path) -> EncoderSpec:
    folder = scratch / precision
    folder.mkdir()
    return find_source(with_precision(name, precision)).export(folder)


def _read_pixels(model: Path, spec: EncoderSpec) -> NDArray[np.uint8]:
    encoder = OnnxEncoder(model, spec, threads=1)
    pixels = np.stack([encoder.prepare(picture) for picture in read_pictures()])
    return np.resize(pixels, (max(BATCHES), *pixels.shape[1:]))


def _open(way: str, model: Path, threads: int) -> Any:
    return OpenVinoSession(model, threads, 1, WAYS[way]) if way.endswith("OpenVINO") else open_session(model, threads)


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return a row for each encoder and shape of its batches, as Markdown: milliseconds, and how often as fast."""
    rows = [
        [name, shape, *(_write(ms, way) for way in WAYS)]
        for name, one in figures.items()
        for shape, ms in one["ms"].items()
    ]
    said = "; ".join(
        f"`{name}`: {one['bytes']['float32'] / 1e6:.1f} MB in 32 bits, {one['bytes']['int8'] / 1e6:.1f} in 8, cosines "
        f"at least {', '.join(f'{least:.4f} ({way})' for way, least in one['least_cosine'].items() if way != BASE)}"
        for name, one in figures.items()
    )
    columns = ["encoder", "", f"{BASE}, ms a picture", *(way for way in WAYS if way != BASE)]
    return f"{write_table(columns, rows)}\n\nThe models' files, and vectors of pictures beside those of {BASE}: {said}."


def _write(ms: dict[str, list[float]], way: str) -> str:
    if way == BASE:
        return spread(ms[way], 1)
    middle = statistics.median(ms[way])
    return f"{middle:.1f}: **{statistics.median(ms[BASE]) / middle:.2f}**"


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
