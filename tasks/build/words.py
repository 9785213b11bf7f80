"""Build the words of a shard: its products' titles and attributes become postings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list, is_text
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.stores import ObjectStore
from lookalike.tasks.search.words.postings import ATTRIBUTES_WEIGHT, Postings, encode_lengths, pack_codes
from lookalike.tasks.search.words.spelling import may_be_misspelt, pair_letters
from lookalike.tasks.search.words.tokens import tokenise

_ROW_BITS = np.uint64(32)

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def store_words(store: ObjectStore, products: pa.Table) -> Blob:
    """Store the postings of a shard's products."""
    with tempfile.TemporaryDirectory(prefix="lookalike-words-") as folder:
        file = Path(folder) / "words"
        with file.open("wb") as opened:
            build_postings(products).write(opened)
        return blobs.put_file(store, file)


def build_postings(products: pa.Table) -> Postings:
    """Return the postings of products, in the order of their rows.

    They hold the words of titles, and of attributes that are text or lists of text.
    """
    numbers: dict[str, int] = {}
    everything = np.arange(products.num_rows)
    title = _number_words(products["title"].combine_chunks(), everything, numbers)
    attributes = [_number_words(values, rows, numbers) for values, rows in _texts_of_attributes(products)]
    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in attributes)])
    terms = np.concatenate([np.empty(0, np.int64), *(terms for _, terms in attributes)])
    vocabulary, ranks = _sort_terms(numbers)
    return _put_together(products.num_rows, vocabulary, _count(title, ranks), _count((rows, terms), ranks))


def _texts_of_attributes(products: pa.Table) -> Iterator[tuple[pa.Array, Numbers]]:
    """Yield texts, and the row that each belongs to, of each attribute that holds some."""
    if "attributes" not in products.column_names:
        return
    column = products["attributes"].combine_chunks()
    everything = np.arange(products.num_rows)
    for field in column.type:
        values = pc.struct_field(column, field.name)
        if is_text(field.type):
            yield values, everything
        elif is_list(field.type) and is_text(field.type.value_type):
            lengths = np.asarray(pc.list_value_length(values).fill_null(0))
            yield values.flatten(), np.repeat(everything, lengths)


def _number_words(texts: pa.Array, rows: Numbers, numbers: dict[str, int]) -> tuple[Numbers, Numbers]:
    """Return for each word of (n,) texts, which belong to (n,) rows, its row and its number; new words get the next."""
    encoded = texts.cast(pa.string()).dictionary_encode()  # the same text, as of a brand, is read once
    there = np.flatnonzero(np.asarray(encoded.is_valid()))
    found = [[numbers.setdefault(word, len(numbers)) for word in tokenise(text.as_py())] for text in encoded.dictionary]
    counts = np.fromiter(map(len, found), np.int64, len(found))
    flat = np.fromiter((number for some in found for number in some), np.int64, int(counts.sum()))
    starts = np.cumsum(counts) - counts
    which = np.asarray(encoded.indices.take(pa.array(there)), np.int64)
    lengths = counts[which]
    owners = np.repeat(rows[there], lengths)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owners, flat[np.repeat(starts[which], lengths) + within]


def _sort_terms(numbers: dict[str, int]) -> tuple[list[bytes], Numbers]:
    """Return all terms, sorted as UTF-8, and for each number the term's place there."""
    terms = [term.encode() for term in numbers]
    order = sorted(range(len(terms)), key=terms.__getitem__)
    ranks = np.empty(len(terms), np.int64)
    ranks[order] = np.arange(len(terms))
    return [terms[number] for number in order], ranks


def _count(words: tuple[Numbers, Numbers], ranks: Numbers) -> tuple[Keys, Numbers]:
    """Return a key of term and row for each pair of them, sorted, and how often the row has the term."""
    rows, terms = words
    keys, counts = np.unique(ranks[terms].astype(np.uint64) << _ROW_BITS | rows.astype(np.uint64), return_counts=True)
    return keys, counts


def _put_together(
    count: int, vocabulary: list[bytes], title: tuple[Keys, Numbers], attributes: tuple[Keys, Numbers]
) -> Postings:
    keys = np.union1d(title[0], attributes[0])
    times = [np.zeros(len(keys), np.int64) for _ in range(2)]
    for counted, (known, often) in zip(times, (title, attributes), strict=True):
        counted[np.searchsorted(keys, known)] = often
    rows = (keys & np.uint64(2**32 - 1)).astype(np.int64)
    weighed = times[0] + ATTRIBUTES_WEIGHT * times[1]
    lengths = encode_lengths(np.bincount(rows, weighed, minlength=count).astype(np.float64))
    pairs, pair_starts, pair_terms = _pair_terms(vocabulary)
    return Postings(
        posting_starts=np.searchsorted(keys >> _ROW_BITS, np.arange(len(vocabulary) + 1, dtype=np.uint64)).astype(
            np.uint64
        ),
        pairs=pairs,
        term_starts=np.cumsum([0, *map(len, vocabulary)]).astype(np.uint32),
        rows=rows.astype(np.uint32),
        pair_starts=pair_starts,
        pair_terms=pair_terms,
        codes=pack_codes(lengths[rows], *times),
        lengths=lengths,
        letters=np.frombuffer(b"".join(vocabulary), np.uint8),
    )


def _pair_terms(vocabulary: list[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the different pairs of letters, where the terms of each begin, and these terms."""
    words = [(place, word) for place, term in enumerate(vocabulary) if may_be_misspelt(word := term.decode())]
    found, owners = pair_letters([word for _, word in words])
    places = np.array([place for place, _ in words], np.int64)[owners]
    order = np.lexsort((places, found))
    found, places = found[order], places[order]
    again = np.r_[False, (np.diff(found) == 0) & (np.diff(places) == 0)] if len(found) else np.empty(0, bool)
    found, places = found[~again], places[~again]
    pairs, starts = np.unique(found, return_index=True)
    return pairs, np.r_[starts, len(found)].astype(np.uint32), places.astype(np.uint32)
