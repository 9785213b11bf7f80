"""The decoders that `tests.benchmarks.decoders` compares, in an environment that has them.

    build/decoders/bin/python tests/benchmarks/decoders_apart.py [FOLDER]

This file imports nothing of Lookalike, as these libraries are not among what Lookalike installs. It prints JSON.
"""

from __future__ import annotations

import importlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 336  # the least that is needed of the shorter side: 1.5 times 224
FITTED = (224, 224)
ROUNDS = 9
FILES = 100
PACKAGES = ("pillow", "numpy", "simplejpeg", "pyspng", "opencv-python-headless")


def photo(width: int, height: int) -> bytes:
    """Blocks of colour under noise: as hard to compress as a photo, about 2 bits a pixel."""
    cells = np.random.default_rng(1).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
    noise = Image.effect_noise((width, height), 24).convert("RGB")
    buffer = io.BytesIO()
    Image.blend(smooth, noise, 0.3).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def load(data: bytes, block: int | None = None) -> Image.Image:
    """As Lookalike does it; `block` is how many bytes are handed over at a time."""
    with Image.open(io.BytesIO(data)) as image:
        if block:
            image.decodermaxblock = block
        image.draft("RGB", (SIDE, SIDE))
        image.load()
        return image


def compare_jpeg(data: bytes) -> dict[str, Callable[[], object]]:
    """Return the decoders of a JPEG, each at the least fraction of its size that is enough."""
    simplejpeg, cv2 = importlib.import_module("simplejpeg"), importlib.import_module("cv2")
    fast = {"min_height": SIDE, "min_width": SIDE, "min_factor": 1, "fastdct": True, "fastupsample": True}
    reduced = cv2.IMREAD_REDUCED_COLOR_8 if len(data) > 1_000_000 else cv2.IMREAD_REDUCED_COLOR_2
    return {
        "Pillow": lambda: load(data),
        "Pillow, the file in one block": lambda: load(data, len(data)),
        "simplejpeg, fast transforms": lambda: simplejpeg.decode_jpeg(data, **fast),
        "OpenCV": lambda: cv2.imdecode(np.frombuffer(data, np.uint8), reduced),
    }


def compare_png(files: list[bytes]) -> dict[str, Callable[[], object]]:
    """Return the decoders of PNG files."""
    pyspng, cv2 = importlib.import_module("pyspng"), importlib.import_module("cv2")
    return {
        "Pillow": lambda: [load(data) for data in files],
        "spng": lambda: [pyspng.load(data) for data in files],
        "OpenCV": lambda: [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) for data in files],
    }


def compare_fits(image: Image.Image) -> dict[str, Callable[[], object]]:
    """Return the ways to make a decoded picture smaller. OpenCV's linear one leaves out pixels: vectors change."""
    cv2, pixels = importlib.import_module("cv2"), np.asarray(image)
    return {
        "Pillow, bilinear": lambda: image.resize(FITTED, Image.Resampling.BILINEAR),
        "OpenCV, area": lambda: cv2.resize(pixels, FITTED, interpolation=cv2.INTER_AREA),
        "OpenCV, linear": lambda: cv2.resize(pixels, FITTED, interpolation=cv2.INTER_LINEAR),
    }


def measure(ways: dict[str, Callable[[], object]], pictures: int = 1) -> dict[str, float]:
    """Return each way's milliseconds for a picture."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.thread_time()
            way()
            spent[name].append(1000 * (time.thread_time() - started) / pictures)
    return {name: statistics.median(each) for name, each in spent.items()}


def main() -> None:
    """Measure, and print JSON."""
    importlib.import_module("cv2").setNumThreads(1)
    large, small = photo(4000, 3000), photo(800, 800)
    found = {
        "JPEG of 12 megapixels, at an eighth": measure(compare_jpeg(large)),
        "JPEG of 800 pixels, at a half": measure(compare_jpeg(small)),
    }
    if len(sys.argv) > 1:
        files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).rglob("*.png"))[:FILES]]
        found["PNG of 320 pixels with transparency"] = measure(compare_png(files), len(files))
    found["from 400 pixels to 224"] = measure(compare_fits(load(small)))
    versions = {name: version(name) for name in PACKAGES}
    sys.stdout.write(json.dumps({"versions": versions, "large_jpeg_bytes": len(large), "ms": found}))


if __name__ == "__main__":
    main()
