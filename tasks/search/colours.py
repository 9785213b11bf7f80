"""Colours of products as a server searches them: how much of which colour the pictures of a snapshot have.

A colour's shares lie together in the mapped file, so a query reads a byte for each product and colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.colours import COLOURS, WHOLE, Shares, check_shares
from lookalike.tasks.search.channels import Channel, Mask, Rows, Scores


class Colours:
    """The colours of all products of a snapshot, a part (rows, colours) for each shard."""

    def __init__(self, parts: Sequence[Shares], alive: Mask | None = None) -> None:
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self._alive = alive

    @classmethod
    def open(cls, files: Sequence[Path], counts: Sequence[int], alive: Mask | None) -> Colours:
        """Map the shares of each shard, which has so many rows. Raises `CorruptError`."""
        return cls([_map(file, count) for file, count in zip(files, counts, strict=True)], alive)

    @property
    def rows(self) -> int:
        """How many rows there are, those that are dead included."""
        return int(self._starts[-1])

    def query(self, colours: Sequence[str]) -> ColourQuery:
        """Return the channel that finds products by one or more of `COLOURS`."""
        return ColourQuery(self, [COLOURS.index(colour) for colour in colours])

    def sum_shares(self, places: Sequence[int], rows: Rows | None = None) -> NDArray[np.uint16]:
        """Return what some rows have of some colours, of all rows for None: each counts up to its part of the whole."""
        if rows is None:
            return np.concatenate([np.zeros(0, np.uint16), *(_sum(part, places) for part in self._parts)])
        sums = np.zeros(len(rows), np.uint16)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers).tolist():
            here = numbers == number
            sums[here] = _sum(self._parts[number], places, rows[here] - self._starts[number])
        return sums

    def mask_found(self, allowed: Mask | None) -> Mask | None:
        """Return a mask (rows,) of the rows that may be found; None for all."""
        return self._alive if allowed is None else allowed


class ColourQuery(Channel):
    """By how much of the wanted colours a picture has: 1 for one that has these alone, and of each as much."""

    def __init__(self, colours: Colours, places: Sequence[int]) -> None:
        self._colours = colours
        self._places = tuple(places)
        self._most = WHOLE * len(self._places)

    @property
    def names(self) -> tuple[str, ...]:
        """The colours that are wanted."""
        return tuple(COLOURS[place] for place in self._places)

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        sums = self._colours.sum_shares(self._places)
        mask = self._colours.mask_found(allowed)
        if mask is not None:
            sums = np.where(mask, sums, 0)
        counts = np.bincount(sums, minlength=self._most + 1)
        above = np.cumsum(counts[::-1])[::-1]  # how many rows have so much, or more
        least = max(1, int(np.searchsorted(-above, -reach, side="right")) - 1)
        rows = np.flatnonzero(sums >= least)
        return rows[np.argsort(-sums[rows].astype(np.int32), kind="stable")][:reach]

    def scores(self, rows: Rows) -> Scores:
        return (self._colours.sum_shares(self._places, rows) / self._most).astype(np.float32)


def _sum(part: Shares, places: Sequence[int], rows: Rows | slice = slice(None)) -> NDArray[np.uint16]:
    """Return the sum of shares, each at most as large as if all colours were equally much."""
    sums = np.zeros(len(part[rows]), np.uint16)
    for place in places:
        sums += np.minimum(part[rows, place].astype(np.uint16) * np.uint16(len(places)), WHOLE)
    return sums


def _map(file: Path, count: int) -> Shares:
    try:
        return check_shares(np.load(file, mmap_mode="r", allow_pickle=False), count)
    except (ValueError, EOFError) as error:
        raise CorruptError(f"colours cannot be read: {error}") from error
