"""What undoing the compression of a 12-megapixel JPEG costs, at an eighth of its size, by decoder.

    python -m venv build/decoders && build/decoders/bin/pip install pillow numpy simplejpeg opencv-python-headless
    build/decoders/bin/python tests/benchmarks/large_jpegs.py

This file imports nothing of Lookalike, as its decoders are not among what Lookalike installs. Times are of one thread,
the best of nine rounds, in which the decoders take turns.
"""

from __future__ import annotations

import importlib
import io
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

SIDE = 336  # the least that is needed of the shorter side: 1.5 times 224
ROUNDS = 9


def photo() -> bytes:
    """Blocks of colour under noise: as hard to compress as a photo, about 2 bits a pixel."""
    cells = np.random.default_rng(1).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = Image.fromarray(cells).resize((4000, 3000), Image.Resampling.BICUBIC)
    noise = Image.effect_noise((4000, 3000), 24).convert("RGB")
    buffer = io.BytesIO()
    Image.blend(smooth, noise, 0.3).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def pillow(data: bytes, block: int | None = None) -> None:
    """As Lookalike does it; `block` is how many bytes are handed over at a time."""
    with Image.open(io.BytesIO(data)) as image:
        if block:
            image.decodermaxblock = block
        image.draft("RGB", (SIDE, SIDE))
        image.load()


def decoders(data: bytes) -> dict[str, Callable[[], object]]:
    """Return each decoder that is to be compared."""
    simplejpeg, cv2 = importlib.import_module("simplejpeg"), importlib.import_module("cv2")
    cv2.setNumThreads(1)
    fast = {"min_height": SIDE, "min_width": SIDE, "min_factor": 1, "fastdct": True, "fastupsample": True}
    return {
        "Pillow": lambda: pillow(data),
        "Pillow, the file in one block": lambda: pillow(data, len(data)),
        "simplejpeg, fast transforms": lambda: simplejpeg.decode_jpeg(data, **fast),
        "OpenCV": lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8),
    }


def main() -> None:
    """Measure and print."""
    data = photo()
    best = dict.fromkeys(decoders(data), float("inf"))
    for _ in range(ROUNDS):
        for name, decode in decoders(data).items():
            started = time.thread_time()
            decode()
            best[name] = min(best[name], 1000 * (time.thread_time() - started))
    sys.stdout.write(
        f"{len(data) / 1e6:.1f} MB\n" + "".join(f"| {name} | {ms:.1f} ms |\n" for name, ms in best.items())
    )


if __name__ == "__main__":
    main()
