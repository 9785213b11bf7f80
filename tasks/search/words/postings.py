"""Postings: which words the products of one shard have, as a file that is mapped into memory.

The file holds `ARRAYS`, each as a `.npy`, one after another, those of larger numbers first: so each is aligned.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError

ARRAYS: Mapping[str, type[np.unsignedinteger[Any]]] = {
    "posting_starts": np.uint64,
    "pairs": np.uint64,
    "term_starts": np.uint32,
    "rows": np.uint32,
    "pair_starts": np.uint32,
    "pair_terms": np.uint32,
    "codes": np.uint16,
    "lengths": np.uint8,
    "letters": np.uint8,
}
ATTRIBUTES_WEIGHT = 0.3
"""How much a word in an attribute counts, and how long it makes a product, beside a word in the title."""

MOST_TIMES = 15  # a word is counted in one field
_FINE = 127  # lengths up to it, in tenths of a word, are kept as they are
_COARSE = 128 / np.log(5_000 / (_FINE / 10))  # steps for each time that a length grows by e


@dataclass(frozen=True, slots=True)
class Postings:
    """The words of `count` products, in the order of their rows.

    Attributes:
        letters: all terms, sorted, as UTF-8, one after another; term i begins at `term_starts[i]`.
        rows: (postings,) the rows that have a term, ascending; those of term i begin at `posting_starts[i]`.
        codes: (postings,) how often and in how long a product the term is, see `pack_codes`.
        lengths: (count,) how many words each product has, see `encode_lengths`.
        pairs: pairs of letters that terms have, sorted, see `pack_pairs`; the terms that have pair i begin at
            `pair_starts[i]` of `pair_terms`. Only words have some, and no numbers or codes.
    """

    posting_starts: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    term_starts: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    pair_starts: NDArray[np.uint32]
    pair_terms: NDArray[np.uint32]
    codes: NDArray[np.uint16]
    lengths: NDArray[np.uint8]
    letters: NDArray[np.uint8]

    @classmethod
    def open(cls, file: Path, count: int) -> Postings:
        """Map the postings of a shard of `count` products. Raises `CorruptError`."""
        try:
            found = cls(**dict(_map_arrays(file)))
        except (ValueError, OSError) as error:
            raise CorruptError(f"the words of a shard cannot be read: {error}") from error
        found._check(count)
        return found

    def write(self, file: BinaryIO) -> None:
        """Write what `open` reads."""
        for name in ARRAYS:
            npy.write_array(file, getattr(self, name), version=(1, 0), allow_pickle=False)

    @property
    def count(self) -> int:
        """How many products there are."""
        return len(self.lengths)

    @property
    def terms(self) -> int:
        """How many different words there are."""
        return len(self.term_starts) - 1

    def term(self, place: int) -> bytes:
        """Return a term as UTF-8."""
        starts = self.term_starts.data  # a memoryview gives single numbers sooner than NumPy
        return self.letters.data[starts[place] : starts[place + 1]].tobytes()

    def frequencies(self, places: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return how many products have each of the (n,) terms."""
        found: NDArray[np.int64] = (self.posting_starts[places + 1] - self.posting_starts[places]).astype(np.int64)
        return found

    def span(self, place: int) -> tuple[int, int]:
        """Return where the postings of a term begin and end."""
        starts = self.posting_starts.data
        return starts[place], starts[place + 1]

    def find(self, term: bytes, within: range | None = None) -> int | None:
        """Return the place of a term, among those of a range if there is one; None where no product has it."""
        place = self.bisect(term, within)
        return place if place < self.terms and self.term(place) == term else None

    def find_beginning(self, beginning: bytes) -> range:
        """Return the places of the terms that begin so."""
        return range(self.bisect(beginning), self.bisect(beginning + b"\xff"))

    def bisect(self, term: bytes, within: range | None = None) -> int:
        """Return the place of the first term that is not less, among those of a range if there is one."""
        low, high = (0, self.terms) if within is None else (within.start, within.stop)
        while low < high:
            middle = (low + high) // 2
            if self.term(middle) < term:
                low = middle + 1
            else:
                high = middle
        return low

    def warm_up(self) -> int:
        """Read what each search needs into memory, by a sum that has no meaning."""
        return sum(int(array[:: 4096 // array.itemsize].sum()) for array in (self.rows, self.codes, self.letters))

    def _check(self, count: int) -> None:
        sizes = {name: len(getattr(self, name)) for name in ARRAYS}
        fits = (
            self.count == count
            and self.terms >= 0
            and sizes["posting_starts"] == sizes["term_starts"]
            and sizes["pair_starts"] == sizes["pairs"] + 1
            and sizes["rows"] == sizes["codes"] == int(self.posting_starts[-1])
            and sizes["letters"] == int(self.term_starts[-1])
            and sizes["pair_terms"] == int(self.pair_starts[-1])
        )
        if not fits:
            raise CorruptError(f"the words of a shard of {count} products do not fit together: {sizes}")


def encode_lengths(words: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return numbers of words as bytes: up to 12.7 in tenths, beyond in steps of 5 %."""
    tenths = np.rint(10 * words)
    with np.errstate(divide="ignore"):
        coarse = _FINE + np.rint(_COARSE * np.log(np.maximum(tenths, 1) / _FINE))
    return np.asarray(np.minimum(np.where(tenths <= _FINE, tenths, coarse), 255), np.uint8)


def decode_lengths(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the numbers of words that bytes stand for."""
    wide = codes.astype(np.float64)
    found: NDArray[np.float64] = np.where(wide <= _FINE, wide, _FINE * np.exp((wide - _FINE) / _COARSE)) / 10
    return found


def pack_codes(
    lengths: NDArray[np.uint8], in_title: NDArray[np.integer[Any]], in_attributes: NDArray[np.integer[Any]]
) -> NDArray[np.uint16]:
    """Return the length of a product and how often it has a word, as 8, 4 and 4 bits."""
    title, attributes = np.minimum(in_title, MOST_TIMES), np.minimum(in_attributes, MOST_TIMES)
    return np.asarray(lengths.astype(np.uint16) << 8 | title << 4 | attributes, np.uint16)


def unpack_codes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each code how long a product is, and how often it has a word, an attribute's counting less."""
    codes = np.arange(2**16)
    lengths = decode_lengths((codes >> 8).astype(np.uint8))
    return lengths, (codes >> 4 & MOST_TIMES) + ATTRIBUTES_WEIGHT * (codes & MOST_TIMES)


def pack_pairs(letters: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return the (n - 1,) pairs of (n,) code points that stand side by side."""
    wide = letters.astype(np.uint64)
    found: NDArray[np.uint64] = (wide[:-1] << np.uint64(21)) | wide[1:]
    return found


def _map_arrays(file: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        for name, kind in ARRAYS.items():
            npy.read_magic(opened)
            shape, _, dtype = npy.read_array_header_1_0(opened)
            if dtype != kind or len(shape) != 1:
                raise ValueError(f"{name} is {dtype}{shape}")
            yield name, np.frombuffer(mapped, dtype, shape[0], opened.tell())
            opened.seek(shape[0] * dtype.itemsize, 1)
