"""Facets: how many products have which value of an attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_text, item_type, type_name
from lookalike.data.snapshots.mapped.columns import Column, ColumnPart, ColumnWords
from lookalike.data.snapshots.products import Products
from lookalike.serving.query.options import QueryOptions
from lookalike.tasks.search.filters import Condition, size_of
from lookalike.tasks.search.recent import Recent

MAX_VALUES = 50  # more than these, and a list of them helps nobody
MAX_BYTES = 16 * 2**10
"""Of one attribute's values as text: longer ones are descriptions, which nobody chooses from a list."""
MAX_BYTES_OF_ALL = 256 * 2**10
"""Of the values of all attributes of a snapshot together."""

MOST_BYTES = 8 * 2**20
"""Of the facets that are kept of one snapshot."""

Mask = NDArray[np.bool_]
Match = Callable[[tuple[Condition, ...]], Mask | None]
"""Returns a mask (rows,) of what is counted under some conditions, None for all that can be found."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values with their counts, most frequent first.

    Attributes:
        values: as a filter would write them, MAX_VALUES and MAX_BYTES at most.
        others: how many other values there are.
        missing: how many of the products have no value.
        low, high: the least and the greatest of all values of numbers, dates and times, as JSON has them; else None.
    """

    values: dict[str, int]
    others: int
    missing: int = 0
    low: float | int | str | None = None
    high: float | int | str | None = None


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the products: its type, and its values with their counts where there are few."""

    type: str
    values: dict[str, int] | None


def count_attributes(products: Products) -> Mapping[str, Attribute]:
    """Return the attributes that products can be filtered by, counted once for each snapshot."""
    if products not in _counted_attributes:
        found = {name: _attribute(products, name, kind) for name, kind in sorted(products.attributes.items())}
        _counted_attributes[products] = _leave_out_large(found)
    return _counted_attributes[products]


_counted_attributes: WeakKeyDictionary[Products, Mapping[str, Attribute]] = WeakKeyDictionary()


def count_facets(products: Products, options: QueryOptions, match: Match, *, is_of_filters: bool) -> dict[str, Facet]:
    """Count the values of the attributes that a query names, among what `match` returns for its conditions.

    Of hits, each attribute is counted without the conditions on itself: a shopper who chose one brand still sees what
    there is of the others. Where nothing but the conditions says what counts (`is_of_filters`), counts are kept for
    the next queries with the same ones.
    """
    masks: dict[tuple[Condition, ...], Mask | None] = {}

    def count(name: str, under: tuple[Condition, ...]) -> Facet:
        if under not in masks:
            masks[under] = match(under)
        return count_values(products, name, masks[under])

    found = {}
    for name in options.facets:
        under = options.conditions
        if options.facets_of == "hits":
            under = tuple(condition for condition in under if condition.name != name)
        if is_of_filters:
            recent = _counted_facets.setdefault(products, Recent(MOST_BYTES))
            found[name] = recent.get((name, under), partial(count, name, under), MAX_BYTES + size_of(under))
        else:
            found[name] = count(name, under)
    return found


_counted_facets: WeakKeyDictionary[Products, Recent[Facet]] = WeakKeyDictionary()


def count_values(products: Products, name: str, mask: Mask | None) -> Facet:
    """Count an attribute's values among the rows of a mask (rows,), all that can be found where there is none.

    A list counts once for each of its different items; a missing value for nothing. Raises `KeyError`.
    """
    column = products.columns[name]
    parts = column.split(products.alive if mask is None else mask)
    found = _count_words(column, parts) if column.is_text else _merge([_count_numbers(*part) for part in parts])
    best = _most_frequent(found)
    shown = _shorten(dict(zip(_name(column, found, best), found.counts[best].tolist(), strict=True)))
    missing = sum(_count_missing(part, chosen) for part, chosen in parts)
    return Facet(shown, len(found.counts) - len(shown), missing, *_find_ends(column, found))


def _shorten(values: dict[str, int]) -> dict[str, int]:
    """Return the first of some values that have no more than MAX_BYTES together."""
    ends = accumulate(len(value.encode()) for value in values)
    return {value: count for (value, count), end in zip(values.items(), ends, strict=True) if end <= MAX_BYTES}


def _leave_out_large(attributes: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
    """Leave out the values of those attributes that have the longest, until the rest is no longer than it may be."""
    sizes = {name: sum(len(value.encode()) for value in one.values or ()) for name, one in attributes.items()}
    fitting, total = set(), 0
    for name in sorted(sizes, key=lambda name: sizes[name]):
        total += sizes[name]
        if total <= MAX_BYTES_OF_ALL:
            fitting.add(name)
    return {name: one if name in fitting else replace(one, values=None) for name, one in attributes.items()}


def _attribute(products: Products, name: str, kind: pa.DataType) -> Attribute:
    if not (is_text(item_type(kind)) or pa.types.is_boolean(kind)):
        return Attribute(type_name(kind), None)
    parts = products.columns[name].split(products.alive)
    if any(_has_many(part, chosen) for part, chosen in parts):  # descriptions need not be merged to know that
        return Attribute(type_name(kind), None)
    facet = count_values(products, name, None)
    return Attribute(type_name(kind), None if facet.others else facet.values)


def _has_many(part: ColumnPart, chosen: Mask | None) -> bool:
    if part.words is None or len(part.words) <= MAX_VALUES:
        return False
    return int(np.count_nonzero(_count_places(part, chosen))) > MAX_VALUES


@dataclass(frozen=True, slots=True)
class _Counts:
    """Different values (n,), and how often (n,) each is there.

    Numbers are in ascending order. Of texts, `values` are their numbers among the `words` of the column, in any order.
    """

    values: NDArray[Any]
    counts: NDArray[np.int64]
    words: ColumnWords | None = None


def _count_words(column: Column, parts: Sequence[tuple[ColumnPart, Mask | None]]) -> _Counts:
    """Count texts without looking at them: they have numbers."""
    counts = np.zeros(len(column.words), np.int64)
    for places, (part, chosen) in zip(column.words.places, parts, strict=True):
        counts[places] += _count_places(part, chosen)
    distinct = np.flatnonzero(counts)
    return _Counts(distinct, counts[distinct], column.words)


def _count_places(part: ColumnPart, chosen: Mask | None) -> NDArray[np.int64]:
    """Return how often each word of a part is there."""
    return np.bincount(part.of_rows(chosen), minlength=len(part.words or ()))


def _count_numbers(part: ColumnPart, chosen: Mask | None) -> _Counts:
    values = part.of_rows(chosen)
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if np.can_cast(values.dtype, np.int64) and values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < len(values):  # so counting takes no more memory than sorting, and a tenth of the time
            counts = np.bincount(values.astype(np.int64) - low)
            distinct = np.flatnonzero(counts)
            return _Counts((distinct + low).astype(values.dtype), counts[distinct])
    return _Counts(*np.unique(values, return_counts=True))


def _merge(parts: Sequence[_Counts]) -> _Counts:
    """Count each number once: it may be in several parts."""
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([part.counts for part in parts])
    distinct, places = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
    return _Counts(distinct, np.bincount(places, counts, minlength=len(distinct)).astype(np.int64))


def _most_frequent(found: _Counts) -> NDArray[np.int64]:
    """Return the places of the MAX_VALUES most frequent values, those with equal counts in ascending order."""
    counts = found.counts
    if len(counts) > MAX_VALUES:
        least = np.partition(counts, -MAX_VALUES)[-MAX_VALUES]
        above, equal = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
        places = np.concatenate([above, _find_least(found, equal, MAX_VALUES - len(above))])
    else:
        places = np.arange(len(counts))
    ranked = _find_least(found, places, len(places))
    return ranked[np.argsort(-counts[ranked], kind="stable")]


def _find_least(found: _Counts, places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return the places of the `most` least values among some."""
    if found.words is None:
        return places[:most]
    table = pa.table({"word": found.words.take(found.values[places])})
    least: NDArray[np.int64] = places[np.asarray(pc.select_k_unstable(table, most, [("word", "ascending")]))]
    return least


def _count_missing(part: ColumnPart, chosen: Mask | None) -> int:
    present = part.mark_present()
    return int((~present if chosen is None else chosen & ~present).sum())


def _find_ends(column: Column, found: _Counts) -> tuple[Any, Any]:
    if found.words is not None or pa.types.is_boolean(column.kind) or not len(found.values):
        return None, None
    return _as_json(column, found.values[0]), _as_json(column, found.values[-1])


def _name(column: Column, found: _Counts, places: NDArray[np.int64]) -> list[str]:
    """Return some values as a filter would write them."""
    if found.words is None:
        return [_as_text(column, found.values[place]) for place in places]
    names: list[str] = found.words.take(found.values[places]).to_pylist()
    return names


def _as_text(column: Column, value: Any) -> str:
    plain = _as_json(column, value)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def _as_json(column: Column, value: Any) -> bool | int | float | str:
    """As JSON has it."""
    kind = column.kind
    if pa.types.is_date(kind):
        return (_EPOCH + timedelta(days=int(value))).date().isoformat()
    if pa.types.is_timestamp(kind):
        moment = _EPOCH + timedelta(microseconds=int(value))
        return (moment if kind.tz else moment.replace(tzinfo=None)).isoformat()
    if pa.types.is_time(kind):
        return (_EPOCH + timedelta(microseconds=int(value))).time().isoformat()
    found: bool | int | float = value.item()
    return found
