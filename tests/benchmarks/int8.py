"""What an encoder loses and gains in 8-bit numbers.

    python -m tests.benchmarks.int8 FOLDER [--encoder NAME] [--rounds 5] [--queries 200]

The exported model is quantised by ONNX Runtime: statically, its convolutions calibrated on some of the pictures, with
a scale for each channel, and dynamically. Prints size, pictures a second of the bare model, and cosine to the 32-bit
vectors over pictures that the calibration has not seen; with `--queries`, the tables of `quality.py` for the static one
as well.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import quantization

from lookalike.data.snapshots import blobs
from lookalike.data.stores import open_store
from lookalike.tasks.encoders.base import EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.encoders.stored import store_source
from tests.benchmarks.embedded import Bench, Pictures
from tests.benchmarks.quality import results, table

CALIBRATED_ON = 64
COMPARED_ON = 96
BATCH = 32


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands out batches of prepared pictures, once."""

    def __init__(self, name: str, batches: Sequence[NDArray[np.uint8]]) -> None:
        self._batches = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next batch, or None behind the last."""
        return next(self._batches, None)


def static(model: Path, target: Path, spec: EncoderSpec, batches: Sequence[NDArray[np.uint8]]) -> None:
    """Convolutions in 8 bits, activations too."""
    quantization.quantize_static(
        model,
        target,
        Calibration(spec.input_name, batches),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["Conv", "Clip", "Add"],
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )


def dynamic(model: Path, target: Path, _: EncoderSpec, __: Sequence[NDArray[np.uint8]]) -> None:
    """Weights in 8 bits, and activations as they come."""
    quantization.quantize_dynamic(model, target, per_channel=True, weight_type=quantization.QuantType.QInt8)


WAYS: dict[str, Callable[[Path, Path, EncoderSpec, Sequence[NDArray[np.uint8]]], None]] = {
    "static int8": static,
    "dynamic int8": dynamic,
}


def prepared(encoder: OnnxEncoder, pictures: Pictures, keys: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Pictures as the model takes them, in batches."""
    pixels = [encoder.prepare(pictures.read(key)) for key in keys]
    return [np.stack(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]


def variants(scratch: Path, model: bytes, full: OnnxEncoder, pictures: Pictures, threads: int) -> Iterator[Any]:
    """The model as it is and in each way, with its size in bytes; what cannot be made or run is told on stderr."""
    yield "float32", full, len(model)
    (scratch / "float32.onnx").write_bytes(model)
    calibration = prepared(full, pictures, list(pictures.files)[:: max(1, len(pictures.files) // CALIBRATED_ON)])
    for way, quantise in WAYS.items():
        target = scratch / f"{way}.onnx"
        try:
            quantise(scratch / "float32.onnx", target, full.spec, calibration)
            changed = target.read_bytes()
            mark = {"name": f"{full.spec.name} {way}", "fingerprint": hashlib.sha256(changed).hexdigest()[:16]}
            yield way, OnnxEncoder(changed, full.spec.model_copy(update=mark), threads=threads), len(changed)
        except Exception as error:  # noqa: BLE001  # a way that does not work is a finding, not the end
            sys.stderr.write(f"{way}: {error}\n")


def rates(encoders: Sequence[OnnxEncoder], batch: NDArray[np.uint8], rounds: int) -> list[float]:
    """Pictures a second of the bare models, in turn, round by round: medians."""
    measured: list[list[float]] = [[] for _ in encoders]
    for _ in range(rounds):
        for encoder, row in zip(encoders, measured, strict=True):
            start = time.perf_counter()
            encoder.infer(batch)
            row.append(len(batch) / (time.perf_counter() - start))
    return [statistics.median(row) for row in measured]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)  # ONNX Runtime asks for a preparation that changes nothing here
    parser = argparse.ArgumentParser(description="What 8-bit numbers cost and bring.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--queries", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "lookalike-quality")
    arguments = parser.parse_args(argv)
    store = open_store(str(arguments.cache))
    section = store_source(store, find_source(arguments.encoder))
    model = blobs.read(store, section.model)
    spec = EncoderSpec.model_validate_json(blobs.read(store, section.spec))
    pictures = Pictures.below(arguments.folder, None)
    full = OnnxEncoder(model, spec, threads=arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        made = list(variants(Path(scratch), model, full, pictures, arguments.threads))
    compared = np.concatenate(prepared(full, pictures, list(pictures.files)[1 :: len(pictures.files) // COMPARED_ON]))
    speeds = rates([encoder for _, encoder, _ in made], compared[:BATCH], arguments.rounds)
    expected = full.finish(full.infer(compared))
    sys.stdout.write("| numbers | MB | pictures/s | cosine, median | cosine, least |\n")
    sys.stdout.write("|---" * 5 + "|\n")
    for (way, encoder, size), speed in zip(made, speeds, strict=True):
        cosines = (expected * encoder.finish(encoder.infer(compared))).sum(axis=1)
        figures = f"{np.median(cosines):.4f} | {cosines.min():.4f}"
        sys.stdout.write(f"| {way} | {size / 1e6:.1f} | {speed:.1f} | {figures} |\n")
    sys.stdout.flush()
    if arguments.queries:
        asked = pictures.sample(arguments.queries)
        chosen = [encoder for way, encoder, _ in made if way != "dynamic int8"]
        found = [results(Bench(arguments.cache, one), one, pictures, asked, "plain", [256]) for one in chosen]
        sys.stdout.write(f"\n{table([asdict(result) for one in found for result in one])}\n")


if __name__ == "__main__":
    main()
