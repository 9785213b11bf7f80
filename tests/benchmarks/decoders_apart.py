"""What decoding and fitting a picture costs, by library.

    python -m venv build/decoders
    build/decoders/bin/pip install pillow numpy simplejpeg pyspng opencv-python-headless
    build/decoders/bin/python tests/benchmarks/decoders.py [FOLDER]

A photo of 12 megapixels and one of 800 pixels are made; pictures of 320 pixels are the PNG files of FOLDER, which have
transparency (those of `make demo` are in `.lookalike/samples/images`). This file imports nothing of Lookalike, as these
libraries are not among what Lookalike installs. Times are of one thread, the median of nine rounds, in which the
libraries take turns.
"""

from __future__ import annotations

import importlib
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 336  # the least that is needed of the shorter side: 1.5 times 224
FITTED = (224, 224)
ROUNDS = 9
FILES = 100


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


def measure(title: str, ways: dict[str, Callable[[], object]], pictures: int = 1) -> str:
    """Return lines with each way's milliseconds for a picture."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.thread_time()
            way()
            spent[name].append(1000 * (time.thread_time() - started) / pictures)
    return "".join(f"| {title} | {name} | {statistics.median(each):.2f} ms |\n" for name, each in spent.items())


def main() -> None:
    """Measure and print."""
    importlib.import_module("cv2").setNumThreads(1)
    large, small = photo(4000, 3000), photo(800, 800)
    lines = [measure(f"JPEG of 12 megapixels, {len(large) / 1e6:.1f} MB", compare_jpeg(large))]
    lines.append(measure("JPEG of 800 pixels", compare_jpeg(small)))
    if len(sys.argv) > 1:
        files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.png"))[:FILES]]
        lines.append(measure("PNG with transparency, 320 pixels", compare_png(files), len(files)))
    lines.append(measure("400 pixels to 224", compare_fits(load(small))))
    sys.stdout.write("".join(lines))


if __name__ == "__main__":
    main()
