"""Literals: what a value that is written in a filter means in an attribute's type.

A written value stands for all values between two of the type: `2026-01-31` is every microsecond of that day where
timestamps are compared, and `2.5` is none where whole numbers are, though it lies between 2 and 3. Every operator
follows from these two ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND = 10**40  # further than any whole number of 64 bits
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Span:
    """All values from `low` to `high`, both included; none where `low` is above `high`."""

    low: Any
    high: Any


def read(text: str, kind: pa.DataType) -> Span:
    """Return what a written value stands for among values of a type, as `data.columns` holds them.

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
