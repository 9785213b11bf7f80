"""Some of many: how benchmarks take part of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}

One = TypeVar("One")


def pictures_below(folder: Path) -> list[Path]:
    """Files that are named as pictures, in a stable order; without any there is nothing to measure."""
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder: name one with pictures; `make demo ONCE=1` renders some")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise SystemExit(f"{folder} has no pictures, which are files that end in {', '.join(sorted(SUFFIXES))}")
    return paths


def evenly(many: Sequence[One], most: int) -> list[One]:
    """So many of them, or all where there are no more, at even distances from the first on."""
    count = min(most, len(many))
    return [many[number * len(many) // count] for number in range(count)]
