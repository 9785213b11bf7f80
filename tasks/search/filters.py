"""Filters: conditions on attributes that select rows before they are ranked.

A value that is written in a filter stands for a span of values of the attribute's type. `2026-01-31` is every
microsecond of that day where timestamps are compared; `2.5` is an empty span between 2 and 3 where whole numbers are
compared. Every operator compares with the two ends of the span.
"""

from __future__ import annotations

import math
import operator
import re
import unicodedata
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

from lookalike.data.catalogue.readings import looks_like_value
from lookalike.data.catalogue.types import type_name
from lookalike.data.errors import FilterError
from lookalike.data.snapshots.mapped.columns import Column, ColumnPart
from lookalike.data.snapshots.products import Products

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND = 10**40  # larger than any whole number of 64 bits
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
_FEW = 4  # up to so many values, comparing the column with each costs less than looking up every row

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """All values from `low` to `high`, both included; none where `low` is above `high`."""

    low: Any
    high: Any


def parse_value(text: str, kind: pa.DataType) -> Span:
    """Return the span that a written value stands for, in the numbers with which `ColumnPart` holds values of the type.

    Raises `ValueError` for text that is no value of the type.
    """
    for is_kind, reader in _READERS:
        if is_kind(kind):
            return reader(text)
    if pa.types.is_float32(kind):
        return _parse_float(text, np.float32)
    return _parse_float(text, np.float64)


def _parse_boolean(text: str) -> Span:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return Span(_BOOLEANS[text.lower()], _BOOLEANS[text.lower()])


def _parse_integer(text: str) -> Span:
    number = _parse_decimal(text)
    if not number.is_finite() or number.adjusted() > 30:
        beyond = int(math.copysign(_BEYOND, number))
        return Span(beyond, beyond)
    return Span(math.ceil(number), math.floor(number))


def _parse_float(text: str, kind: type[np.floating[Any]]) -> Span:
    _parse_decimal(text)
    with np.errstate(over="ignore"):  # a number that does not fit becomes infinite, which lies beyond all others
        number = kind(float(text))
    return Span(number, number)


def _parse_decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if number.is_nan():
        raise ValueError(text)
    return number


def _parse_date(text: str) -> Span:
    days = (date.fromisoformat(text) - _EPOCH.date()).days
    return Span(days, days)


def _parse_timestamp(text: str) -> Span:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        instant = _count_microseconds(datetime.fromisoformat(text))
        return Span(instant, instant)
    return Span(
        _count_microseconds(datetime.combine(day, time.min)),
        _count_microseconds(datetime.combine(day, time.max)),
    )


def _count_microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970; a time without a zone is in UTC."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _parse_time(text: str) -> Span:
    moment = time.fromisoformat(text)
    micros = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000 + moment.microsecond
    return Span(micros, micros)


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Span]], ...] = (
    (pa.types.is_boolean, _parse_boolean),
    (pa.types.is_integer, _parse_integer),
    (pa.types.is_date, _parse_date),
    (pa.types.is_timestamp, _parse_timestamp),
    (pa.types.is_time, _parse_time),
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
    quoted, begin = _read_quoted_name(text)
    match = _OPERATOR.search(text, begin)
    plain = text[begin : match.start()].strip() if match else ""
    # either a plain name or a quoted one, with nothing between the quotes and the operator
    if not match or (quoted is None) != bool(plain):
        raise FilterError(f"the filter {text!r} is not understood: {HOW}")
    name = unicodedata.normalize("NFC", plain if quoted is None else quoted)
    found = " ".join(match[0].lower().split())
    rest = text[match.end() :].strip()
    if found in PRESENCES:
        return Condition(name, found)
    return Condition(name, found, _split_values(rest) if found in MEMBERSHIPS else (rest,))


def size_of(conditions: Sequence[Condition]) -> int:
    """Return about how many bytes conditions take in memory."""
    return sum(256 + len(one.name) + sum(64 + 4 * len(value) for value in one.values) for one in conditions)


def match_products(products: Products, conditions: Sequence[Condition]) -> Mask:
    """Return a mask (rows,) of the products that are not deleted and satisfy all conditions.

    A missing value equals nothing, is unequal to everything, and lies in no range. A list matches where one of its
    items matches; with `!=` and `not in`, where no item does. NaN and empty lists are missing values. Raises
    `FilterError` for an unknown attribute or a value of the wrong type.
    """
    masks = [_match_condition(products, condition) for condition in conditions]
    if products.alive is not None or not masks:
        masks.append(np.ones(products.rows, bool) if products.alive is None else products.alive)
    return reduce(np.logical_and, masks)


def _read_quoted_name(text: str) -> tuple[str | None, int]:
    """Return the quoted name at the start of a filter and its end; None and 0 where the name is not quoted."""
    if not text.startswith('"'):
        return None, 0
    match = _QUOTED_NAME.match(text) or _raise_open_quote(text)
    return _unquote(match), match.end()


def _unquote(match: re.Match[str]) -> str:
    """Return the text between quotes; a quote inside it is written twice."""
    return match[1].replace('""', '"')


def _raise_open_quote(text: str) -> NoReturn:
    raise FilterError(f'{text[:40]!r} begins with a quote that does not end: write "a, ""b""", c')


def _split_values(text: str) -> tuple[str, ...]:
    """Split at commas, except commas in quotes."""
    values = []
    rest: str | None = text
    while rest is not None:
        rest = rest.lstrip()
        if rest.startswith('"'):
            match = _QUOTED.match(rest) or _raise_open_quote(rest)
            values.append(_unquote(match))
            rest = rest[match.end() :] if match[0].endswith(",") else None
        else:
            value, comma, after = rest.partition(",")
            values.append(value.rstrip())
            rest = after if comma else None
    return tuple(values)


def _match_condition(products: Products, condition: Condition) -> Mask:
    column = products.columns.get(condition.name)
    if column is None:
        known = ", ".join(sorted(products.columns)) or "none"
        raise FilterError(f"there is no attribute {condition.name!r} to filter by; the attributes are: {known}")
    positive = _POSITIVE.get(condition.operator, condition.operator)
    found = column.match(_choose_match(column, positive, condition))
    return found if positive == condition.operator else ~found


def _choose_match(column: Column, positive: str, condition: Condition) -> Callable[[ColumnPart], Mask]:
    """Return what marks a part's values that match; rows without a value are not among them."""
    if positive == "is not null":
        return lambda part: np.ones(len(part.values), bool)
    if column.is_text:
        return _choose_match_of_words(column, positive, condition)
    if positive in _ORDERS and pa.types.is_boolean(column.kind):
        raise FilterError(f"{condition.name!r} is true or false, and has no order: write {condition.name}=true")
    spans = [_parse_span(text, column.kind, condition.name) for text in condition.values]
    if positive in _ORDERS:
        compare, edge = _ORDERS[positive], spans[0].low if positive in {"<", ">="} else spans[0].high
        return lambda part: np.asarray(compare(part.values, edge))
    return lambda part: _match_spans(part.values, spans)


def _choose_match_of_words(column: Column, positive: str, condition: Condition) -> Callable[[ColumnPart], Mask]:
    if positive in _ORDERS:
        _refuse_range_of_numbers(column, condition)
    try:
        wanted = pa.array([unicodedata.normalize("NFC", value) for value in condition.values], pa.string())
    except UnicodeEncodeError as error:
        raise FilterError(f"a filter holds half a character: {error}") from error
    return lambda part: _match_words(part, positive, wanted)


def _refuse_range_of_numbers(column: Column, condition: Condition) -> None:
    """See that a range is not asked of texts that people read as numbers or dates: texts are compared letter by letter.

    Codes of digits that all have the same length are in the order of numbers. Raises `FilterError`.
    """
    (value,) = condition.values
    if not looks_like_value(pa.array([value], pa.string()), asked=True)[0].as_py():
        return
    likes = (pc.filter(part.words, looks_like_value(part.words)) for part in column.parts)
    like = next((found for found in likes if len(found)), None)
    if like is None:
        return
    codes = rf"^[0-9]{{{len(value)}}}$"
    if value.isdecimal() and all(
        pc.all(pc.match_substring_regex(part.words, codes), min_count=0).as_py() for part in column.parts
    ):
        return
    raise FilterError(
        f"{condition.name!r} is text, so {condition.operator} would compare letters: its values, such as "
        f"{like[0].as_py()[:40]!r}, look like numbers or dates. Index the catalogue again with the type of the column, "
        f"such as --columns '{condition.name}:decimal_comma' or '{condition.name}:date_dmy', or filter with = or in"
    )


def _match_words(part: ColumnPart, positive: str, wanted: pa.Array) -> Mask:
    """Compare each distinct word once, instead of the value of each row."""
    places, words = part.values, part.words
    assert words is not None  # noqa: S101 - the column is text
    if positive not in _ORDERS and len(wanted) <= _FEW:  # a comparison costs a fifth of a lookup
        found = [place for one in wanted for place in np.flatnonzero(pc.equal(words, one)).tolist()]
        return _unite([places == place for place in found], len(places))
    if positive in _ORDERS:
        compare = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}[positive]
        held = np.asarray(compare(words, wanted[0]))
    else:
        held = np.asarray(pc.is_in(words, value_set=wanted.cast(words.type)))
    return held[places] if len(held) else np.zeros(len(places), bool)


def _match_spans(values: NDArray[Any], spans: Sequence[Span]) -> Mask:
    """Return a mask of the values that lie in any of the spans."""
    points = [span.low for span in spans if span.low == span.high]
    ranges = _merge_ranges([span for span in spans if span.low < span.high])
    if len(ranges) > _FEW:
        # ends are each range's first value and the value after its last: inside a range, an odd number of ends is
        # passed
        ends = np.array([(span.low, span.high + 1) for span in ranges]).ravel()
        masks = [np.searchsorted(ends, values, side="right") % 2 == 1]
    else:
        masks = [(values >= span.low) & (values <= span.high) for span in ranges]
    if len(points) > _FEW:
        masks.append(np.isin(values, _cast_points(points, values.dtype)))
    else:
        masks += [values == point for point in points]
    return _unite(masks, len(values))


def _merge_ranges(ranges: Sequence[Span]) -> list[Span]:
    """Return ranges of whole numbers in ascending order; ranges that meet or overlap become one."""
    apart: list[Span] = []
    for span in sorted(ranges, key=lambda span: span.low):
        if apart and span.low <= apart[-1].high + 1:
            apart[-1] = Span(apart[-1].low, max(apart[-1].high, span.high))
        else:
            apart.append(span)
    return apart


def _unite(masks: Sequence[Mask], length: int) -> Mask:
    return reduce(np.logical_or, masks) if masks else np.zeros(length, bool)


def _cast_points(points: Sequence[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return the points that the type can hold, as an array: no value of the column equals the other points."""
    if kind.kind in "iu":
        bounds = np.iinfo(kind)
        points = [point for point in points if bounds.min <= point <= bounds.max]
    return np.array(points, kind)


def _parse_span(text: str, kind: pa.DataType, name: str) -> Span:
    try:
        return parse_value(text, kind)
    except ValueError as error:
        raise FilterError(f"{name!r} is of type {type_name(kind)}: {text!r} cannot be compared with it") from error
