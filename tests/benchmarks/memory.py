"""What the settings of glibc's allocator cost, and keep.

    python -m tests.benchmarks.memory [--pictures 1600] [--rounds 2] [--output FILE]

Six threads decode pictures of 100 to 3,200 pixels a side, and multiply as a search does, in a process for each setting:
glibc as it is, as the server sets it, and with blocks from 256 KiB on mapped one by one, as the server once did.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from lookalike.serving.server.memory import give_back_memory
from lookalike.tasks.images.decode import decode
from tests.benchmarks.results import add_output, write_result, write_table
from tests.support.watched import resident

TITLES = {
    "glibc": "as it is",
    "server": "**as a server sets it**",
    "all blocks mapped": "blocks from 256 KiB on mapped one by one",
}
ONCE = {-3: 256 * 2**10, -1: 128 * 2**10}  # thresholds of mapping and of trimming, by their numbers in malloc.h
SIDE = 224
KEPT = 400  # pictures that are held at a time
PARTS = 8


def measure(setting: str, pictures: int) -> dict[str, Any]:
    """Do the work in this process with a setting; return seconds of processors, and megabytes after each part of it."""
    if setting != "glibc":
        give_back_memory()
    if setting == "all blocks mapped":
        for option, value in ONCE.items():
            ctypes.CDLL(None).mallopt(option, value)
    random = np.random.default_rng(5)
    files = [make_jpeg(random) for _ in range(60)]
    held: dict[int, object] = {}

    def work(number: int) -> None:
        own = np.random.default_rng(number)
        picture = decode(files[own.integers(len(files))], target=SIDE).resize((SIDE, SIDE))
        scores = own.standard_normal((640, 256), np.float32) @ own.standard_normal(256, np.float32)
        held[int(own.integers(KEPT))] = np.asarray(picture), float(scores.max())

    began, megabytes = time.process_time(), []
    with ThreadPoolExecutor(6) as pool:
        for part in range(PARTS):
            list(pool.map(work, range(part * pictures // PARTS, (part + 1) * pictures // PARTS)))
            megabytes.append(resident(os.getpid()) // 2**20)
    return {"cpu_seconds": round(time.process_time() - began, 1), "megabytes": megabytes}


def make_jpeg(random: np.random.Generator) -> bytes:
    """Return a JPEG of some size, small ones as often as large ones."""
    width, height = np.exp(random.uniform(np.log(100), np.log(3200), 2)).astype(int).tolist()
    small = Image.fromarray(random.integers(0, 255, (12, 12, 3), np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def table(figures: dict[str, list[dict[str, Any]]]) -> str:
    """Return a row for each setting, with all rounds, as Markdown."""
    rows = [
        [
            TITLES[setting],
            ", ".join(f"{one['cpu_seconds']:.1f}" for one in rounds),
            ", ".join(str(one["megabytes"][-1]) for one in rounds),
        ]
        for setting, rounds in figures.items()
    ]
    return write_table(["glibc's allocator", "of a core, s", "resident at the end, MB"], rows)


def main() -> None:
    """Print a table of all settings, or the JSON of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=2, help="of all settings, in turn")
    parser.add_argument("--setting", choices=TITLES, help=argparse.SUPPRESS)
    add_output(parser)
    given = parser.parse_args()
    if given.setting:
        sys.stdout.write(json.dumps(measure(given.setting, given.pictures)) + "\n")
        return
    figures: dict[str, list[dict[str, Any]]] = {setting: [] for setting in TITLES}
    for _ in range(given.rounds):
        for setting, rounds in figures.items():
            rounds.append(_measure_apart(setting, given.pictures))
    sys.stdout.write(f"{table(figures)}\n")
    if given.output:
        write_result(given.output, figures)


def _measure_apart(setting: str, pictures: int) -> dict[str, Any]:
    """Measure in a process of its own: memory that an earlier setting kept must not count."""
    command = [sys.executable, "-m", __spec__.name, "--pictures", str(pictures), "--setting", setting]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    main()
