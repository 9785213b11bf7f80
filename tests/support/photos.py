"""Pictures like photos, all different, a thousand a second: to measure the machinery around the model."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 224
TEXTURES = 16
PER_FOLDER = 1000


def photo(seed: int, side: int = SIDE) -> bytes:
    """Return a JPEG of about 12 kB that no other seed gives: soft light and colour under a grain."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    light = Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.roll(_textures(side)[seed % TEXTURES], random.integers(0, side, 2), (0, 1))
    pixels = np.clip(np.asarray(light, np.int16) + grain[..., None], 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def write_photos(folder: Path, count: int, *, first: int = 0, processes: int = 2) -> None:
    """Write so many photos into folders of a thousand below `folder`; those that are there already stay."""
    starts = range(first, first + count, PER_FOLDER)
    write = partial(_write_some, folder, stop=first + count)
    if len(starts) == 1:
        write(first)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(write, starts))


def photo_path(folder: Path, seed: int) -> Path:
    """Return where a photo is."""
    return folder / f"{seed // PER_FOLDER:04}" / f"{seed:08}.jpg"


def _write_some(folder: Path, first: int, *, stop: int) -> None:
    for seed in range(first, min(first + PER_FOLDER, stop)):
        path = photo_path(folder, seed)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(seed))


@cache
def _textures(side: int) -> list[NDArray[np.int16]]:
    random = np.random.default_rng(0)
    coarse = (random.normal(0, 25, (TEXTURES, side // 4, side // 4)) + 128).clip(0, 255).astype(np.uint8)
    smooth = [
        np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR), np.int16) for one in coarse
    ]
    return [one - 128 for one in smooth]
