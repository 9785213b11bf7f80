"""Some of many: how benchmarks take part of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

One = TypeVar("One")


def evenly(many: Sequence[One], most: int) -> list[One]:
    """So many of them, or all where there are no more, at even distances from the first on."""
    count = min(most, len(many))
    return [many[number * len(many) // count] for number in range(count)]
