"""Threads of the model that sleep while they wait for each other, as ours do, beside threads that spin.

    python -m tests.benchmarks.spinning [--threads 2] [--rounds 10] [--output spinning.json]

Both run the default encoder on ready pixels with nothing beside them, and take turns round by round. Spinning threads
stop at the end of a batch (`session.force_spinning_stop`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.registry import find_source
from tests.benchmarks.results import add_output, write_result

BATCHES = (1, 2, 8, 16)
PICTURES = 32  # in a round, of each batch size
WAYS = {"sleep": "0", "spin": "1"}


def open_session(model: Path, threads: int, spins: str) -> Any:
    """Open the model with threads that spin or sleep."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", spins)
    options.add_session_config_entry("session.force_spinning_stop", spins)
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def measure(threads: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return seconds for a picture, by batch size and way, round by round."""
    with tempfile.TemporaryDirectory() as folder:
        spec = find_source("efficientnet-lite0").export(Path(folder))
        sessions = {way: open_session(Path(folder) / MODEL_FILE, threads, spins) for way, spins in WAYS.items()}
    size = spec.preprocessing.size
    found: dict[str, dict[str, list[float]]] = {str(count): {way: [] for way in WAYS} for count in BATCHES}
    for _ in range(rounds):
        for count in BATCHES:
            pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
            for way, session in sessions.items():
                started = time.perf_counter()
                for _ in range(PICTURES // count):
                    session.run([spec.output_name], {spec.input_name: pixels})
                found[str(count)][way].append((time.perf_counter() - started) / PICTURES)
    return found


def table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Return medians in milliseconds, and the median ratio of the rounds, as Markdown."""
    lines = ["| pictures in a batch | sleep, ms a picture | spin | spin / sleep |", "|---|---|---|---|"]
    for count, ways in figures.items():
        sleep, spin = (1000 * statistics.median(ways[way]) for way in WAYS)
        ratio = statistics.median(new / old for old, new in zip(ways["sleep"], ways["spin"], strict=True))
        lines.append(f"| {count} | {sleep:.1f} | {spin:.1f} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=10)
    add_output(parser)
    given = parser.parse_args()
    figures = measure(given.threads, given.rounds)
    print(table(figures))  # noqa: T201
    if given.output:
        write_result(given.output, figures)


if __name__ == "__main__":
    main()
