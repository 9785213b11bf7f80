"""Filters: conditions on attributes that select rows before they are ranked.

Literals: what a value that is written in a filter means in an attribute's type.

A written value stands for all values between two of the type: `2026-01-31` is every microsecond of that day where
timestamps are compared, and `2.5` is none where whole numbers are, though it lies between 2 and 3. Every operator
follows from these two ends.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import reduce
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import type_name
from lookalike.data.errors import FilterError
from lookalike.data.snapshots.columns import Column
from lookalike.data.snapshots.products import Products

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND = 10**40  # further than any whole number of 64 bits
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
MEMBERSHIPS = ("in", "not in")
PRESENCES = ("is null", "is not null")
OPERATORS = (*COMPARISONS, *MEMBERSHIPS, *PRESENCES)
HOW = 'write category=shoes, price<=50, brand in a,"b, c", colour is null or "sold in store"=yes'

_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|\s(?:not\s+)?in\s|\sis\s+(?:not\s+)?null$", re.IGNORECASE)
_QUOTED_NAME = re.compile(r'"((?:[^"]|"")*)"(?!")')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"\s*(?:,|$)')
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_POSITIVE = {"!=": "=", "not in": "in", "is null": "is not null"}
_FEW = 4  # so many comparisons of a column cost less than looking each value up

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """All values from `low` to `high`, both included; none where `low` is above `high`."""

    low: Any
    high: Any


def read(text: str, kind: pa.DataType) -> Span:
    """Return what a written value stands for among values of a type, as `lookalike.data.snapshots.columns` holds them.

    Raises `ValueError` for text that is no value of it.
    """
    for is_kind, reader in _READERS:
        if is_kind(kind):
            return reader(text)
    if pa.types.is_float32(kind):
        return _float(text, np.float32)
    return _float(text, np.float64)


def _boolean(text: str) -> Span:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return Span(_BOOLEANS[text.lower()], _BOOLEANS[text.lower()])


def _integer(text: str) -> Span:
    number = _decimal(text)
    if not number.is_finite() or number.adjusted() > 30:
        beyond = int(math.copysign(_BEYOND, number))
        return Span(beyond, beyond)
    return Span(math.ceil(number), math.floor(number))


def _float(text: str, kind: type[np.floating[Any]]) -> Span:
    _decimal(text)
    with np.errstate(over="ignore"):  # what does not fit is beyond all that does
        number = kind(float(text))
    return Span(number, number)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if number.is_nan():
        raise ValueError(text)
    return number


def _date(text: str) -> Span:
    days = (date.fromisoformat(text) - _EPOCH.date()).days
    return Span(days, days)


def _timestamp(text: str) -> Span:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        instant = _microseconds(datetime.fromisoformat(text))
        return Span(instant, instant)
    return Span(
        _microseconds(datetime.combine(day, time.min)),
        _microseconds(datetime.combine(day, time.max)),
    )


def _microseconds(moment: datetime) -> int:
    """What has no zone is in UTC."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _time(text: str) -> Span:
    moment = time.fromisoformat(text)
    micros = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000 + moment.microsecond
    return Span(micros, micros)


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Span]], ...] = (
    (pa.types.is_boolean, _boolean),
    (pa.types.is_integer, _integer),
    (pa.types.is_date, _date),
    (pa.types.is_timestamp, _timestamp),
    (pa.types.is_time, _time),
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: an attribute's name, one of OPERATORS, and values as they were written.

    One value for a comparison, one or more for `in` and `not in`, none for `is null` and `is not null`.
    """

    name: str
    operator: str
    values: tuple[str, ...] = ()


def parse(text: str) -> Condition:
    """Read `category=shoes`, `price<=50`, `brand in acme,"b, c"`, `colour is null` or `"sold in store"=yes`.

    Raises `FilterError`.
    """
    text = text.strip()
    quoted, begin = _quoted_name(text)
    match = _OPERATOR.search(text, begin)
    plain = text[begin : match.start()].strip() if match else ""
    if not match or (quoted is None) != bool(plain):  # one name, and nothing between quotes and the operator
        raise FilterError(f"the filter {text!r} is not understood: {HOW}")
    name = plain if quoted is None else quoted
    found = " ".join(match[0].lower().split())
    rest = text[match.end() :].strip()
    if found in PRESENCES:
        return Condition(name, found)
    return Condition(name, found, _listed(rest) if found in MEMBERSHIPS else (rest,))


def matching(products: Products, conditions: Sequence[Condition]) -> Mask:
    """Return a mask (rows,) of the products that can be found and satisfy all conditions.

    A missing value equals nothing, is unequal to everything and in no range. A list matches where one of its items
    does; with `!=` and `not in`, where none does. NaN and empty lists are missing values. Raises `FilterError` for an
    unknown attribute or a value of the wrong type.
    """
    masks = [_mask(products, condition) for condition in conditions]
    if products.alive is not None or not masks:
        masks.append(np.ones(products.rows, bool) if products.alive is None else products.alive)
    return reduce(np.logical_and, masks)


def _quoted_name(text: str) -> tuple[str | None, int]:
    """Return the name in quotes that a filter begins with, None where it is in none, and where it ends."""
    if not text.startswith('"'):
        return None, 0
    match = _QUOTED_NAME.match(text) or _no_end(text)
    return _unquoted(match), match.end()


def _unquoted(match: re.Match[str]) -> str:
    """A quote in quotes is written twice."""
    return match[1].replace('""', '"')


def _no_end(text: str) -> NoReturn:
    raise FilterError(f'{text[:40]!r} begins with a quote that does not end: write "a, ""b""", c')


def _listed(text: str) -> tuple[str, ...]:
    """Split at commas, but for those in quotes."""
    values = []
    rest: str | None = text
    while rest is not None:
        rest = rest.lstrip()
        if rest.startswith('"'):
            match = _QUOTED.match(rest) or _no_end(rest)
            values.append(_unquoted(match))
            rest = rest[match.end() :] if match[0].endswith(",") else None
        else:
            value, comma, after = rest.partition(",")
            values.append(value.rstrip())
            rest = after if comma else None
    return tuple(values)


def _mask(products: Products, condition: Condition) -> Mask:
    column = products.columns.get(condition.name)
    if column is None:
        known = ", ".join(sorted(products.columns)) or "none"
        raise FilterError(f"there is no attribute {condition.name!r} to filter by; the attributes are: {known}")
    positive = _POSITIVE.get(condition.operator, condition.operator)
    found = column.to_rows(_holds(column, positive, condition))
    return found if positive == condition.operator else ~found


def _holds(column: Column, positive: str, condition: Condition) -> Mask:
    """Return a mask of a column's values; for those that are not there it says nothing."""
    if positive == "is not null":
        return np.ones(len(column.values), bool)
    if column.words is not None:
        return _words_hold(column.values, column.words, positive, condition.values)
    if positive in _ORDERS and pa.types.is_boolean(column.kind):
        raise FilterError(f"{condition.name!r} is true or false, and in no order: write {condition.name}=true")
    spans = [_span(text, column.kind, condition.name) for text in condition.values]
    if positive in _ORDERS:
        edge = spans[0].low if positive in {"<", ">="} else spans[0].high
        return np.asarray(_ORDERS[positive](column.values, edge))
    return _among(column.values, spans)


def _words_hold(places: NDArray[Any], words: pa.StringArray, positive: str, values: Sequence[str]) -> Mask:
    """Compare each text once, and not each product's."""
    try:
        wanted = pa.array(values, pa.string())
    except UnicodeEncodeError as error:
        raise FilterError(f"a filter holds half a character: {error}") from error
    if positive not in _ORDERS and len(values) <= _FEW:  # a comparison costs a fifth of looking up
        found = [place for one in wanted for place in np.flatnonzero(pc.equal(words, one))]
        return _any([places == place for place in found], len(places))
    if positive in _ORDERS:
        compare = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}[positive]
        held = np.asarray(compare(words, wanted[0]))
    else:
        held = np.asarray(pc.is_in(words, value_set=wanted))
    return held[places] if len(words) else np.zeros(len(places), bool)


def _among(values: NDArray[Any], spans: Sequence[Span]) -> Mask:
    """Return which values lie in one of some spans."""
    points = [span.low for span in spans if span.low == span.high]
    ranges = _apart([span for span in spans if span.low < span.high])
    if len(ranges) > _FEW:
        # a value is in a range where an odd number of ends, each range's first and the one past its last, are not above
        ends = np.array([(span.low, span.high + 1) for span in ranges]).ravel()
        masks = [np.searchsorted(ends, values, side="right") % 2 == 1]
    else:
        masks = [(values >= span.low) & (values <= span.high) for span in ranges]
    if len(points) > _FEW:
        masks.append(np.isin(values, _typed(points, values.dtype)))
    else:
        masks += [values == point for point in points]
    return _any(masks, len(values))


def _apart(ranges: Sequence[Span]) -> list[Span]:
    """Return ranges of whole numbers in ascending order, as one where they meet or overlap."""
    apart: list[Span] = []
    for span in sorted(ranges, key=lambda span: span.low):
        if apart and span.low <= apart[-1].high + 1:
            apart[-1] = Span(apart[-1].low, max(apart[-1].high, span.high))
        else:
            apart.append(span)
    return apart


def _any(masks: Sequence[Mask], length: int) -> Mask:
    return reduce(np.logical_or, masks) if masks else np.zeros(length, bool)


def _typed(points: Sequence[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return those that a type can hold: no value equals the others."""
    if kind.kind in "iu":
        bounds = np.iinfo(kind)
        points = [point for point in points if bounds.min <= point <= bounds.max]
    return np.array(points, kind)


def _span(text: str, kind: pa.DataType, name: str) -> Span:
    try:
        return read(text, kind)
    except ValueError as error:
        raise FilterError(f"{name!r} is of type {type_name(kind)}: {text!r} cannot be compared with it") from error
