"""Readings: the ways in which values of a column of text can be written, and what turns them into values of a type."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

Texts: TypeAlias = "pa.Array | pa.ChunkedArray"

_INSTANT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"

# no number is +49…, a phone's, nor 007, 1e5 or 12e-3, which are codes; programs write 1.0E5 and 1e+05
_WHOLE = r"(0|[1-9]\d{0,14})"
_FLOAT = rf"^-?({_WHOLE}|{_WHOLE}?\.\d+([eE][+-]?\d{{1,2}})?|\d[eE][+-]\d{{1,2}})$"
_EXACT = 15  # a float keeps so many digits, whichever they are

_SPACES = r"[\s\x{a0}\x{202f}]"
# codes that are also words or norms (ALL, TOP, CUP) are left out
_CODES = (
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HRK HUF IDR ILS INR ISK JPY KRW KZT MAD MXN MYR "
    "NOK NZD PEN PHP PKR PLN QAR RON RSD RUB SAR SEK SGD THB TND TRY TWD UAH USD UYU VND ZAR"
)
_CURRENCY = rf"(?i:{'|'.join(_CODES.split())}|[A-Z]{{0,3}}\$|\p{{Sc}}|euro|kr\.?|zł|kč|ft|lei|fr\.?)"
_SIGN = r"[-\x{2212}]?"
SAME_CURRENCY = {
    "€": "EUR",
    "EURO": "EUR",
    "$": "USD",
    "US$": "USD",
    "£": "GBP",
    "ZŁ": "PLN",
    "KČ": "CZK",
    "FR": "CHF",
}


def _number(group: str, point: str) -> str:
    """Return the pattern of numbers with one sign for thousands and another one for decimals."""
    decimals = rf"(?:{point}(?:\d{{1,9}}|[-\x{{2013}}]{{1,2}}))"
    lakhs = r"[1-9]\d?(?:,\d{2})+,\d{3}|" if group == "," else ""  # as in India
    grouped = rf"{lakhs}[1-9]\d{{0,2}}(?:(?:{group}\d{{3}})+|(?:['\x{{2019}}\x{{a0}}\x{{202f}}]\d{{3}})+)"
    spaced = r"[1-9]\d{0,2}(?: \d{3})+"  # two numbers beside one another, where neither decimals nor a currency follow
    amount = rf"(?:(?:{_WHOLE}|{grouped}){decimals}?|{spaced}{decimals})"
    money = rf"(?:{amount}|{spaced})"
    before, after = rf"{_CURRENCY}{_SPACES}*", rf"{_SPACES}*{_CURRENCY}"
    return rf"^(?:{_SIGN}{amount}|{before}{_SIGN}{money}|{_SIGN}{before}{money}|{_SIGN}{money}{after})$"


_DAY, _MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_CLOCK = r"(?:,?[ T]+\d{1,2}:\d{2}(?::\d{2})?)"
_DMY = rf"(?:{_DAY}\.{_MONTH}\.\d{{4}}|{_DAY}/{_MONTH}/\d{{4}}|{_DAY}-{_MONTH}-\d{{4}})"
_MDY = rf"(?:{_MONTH}/{_DAY}/\d{{4}}|{_MONTH}-{_DAY}-\d{{4}})"
_YMD = rf"(?:\d{{4}}/{_MONTH}/{_DAY}|\d{{4}}\.{_MONTH}\.{_DAY})"


# loosely what people would read as a number or a date, units and ranges of codes included
def _loose_number(units: str) -> str:
    return (
        rf"^[\s(]*(?:{_CURRENCY}{_SPACES}*)?[-+\x{{2212}}]?\d[\d.,'\x{{2019}}\s\x{{a0}}\x{{202f}}]*"
        rf"(?:[-\x{{2013}}]|{_CURRENCY}|%{units})?[\s)]*$"
    )


_NUMBER_ASKED = _loose_number("")
_NUMBER_HELD = _loose_number(r"|[a-zA-Zµ²³°\"]{1,3}")
_DATE_HELD = (
    r"^\s*(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:[ T].*)?"
    r"|\d{1,2}\.?[ -]\pL{3,9}\.?[ -]\d{2,4}|\pL{3,9}\.? \d{1,2},? \d{4})\s*$"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a column of text: values that match `pattern` are turned into `kind` by `convert`."""

    name: str
    kind: pa.DataType
    pattern: str
    convert: Callable[[Texts], Texts]

    def matches(self, column: Texts) -> Texts:
        """Return a mask of the values that are written so; missing values stay missing."""
        return pc.match_substring_regex(column, self.pattern)

    def fits(self, column: Texts) -> bool:
        """Tell whether all values of a column can be read so."""
        if not pc.all(self.matches(column)).as_py():
            return False
        try:
            self.convert(column)
        except pa.ArrowInvalid:  # looks like one and is none: 2026-02-31
            return False
        return not pa.types.is_floating(self.kind) or _keeps_digits(column)


def _cast(kind: pa.DataType, column: Texts) -> Texts:
    return column.cast(kind)


def _to_number(point: str, column: Texts) -> Texts:
    bare = pc.replace_substring_regex(
        column, rf"^({_SIGN}){_SPACES}*{_CURRENCY}{_SPACES}*|{_SPACES}*{_CURRENCY}$", r"\1"
    )
    bare = pc.replace_substring_regex(bare, r"[.,][-\x{2013}]+$", "")
    bare = pc.replace_substring_regex(bare, rf"[^\d\-\x{{2212}}eE+{point}]", "")
    bare = pc.replace_substring(pc.replace_substring(bare, "\u2212", "-"), point, ".")
    return bare.cast(pa.float64())


def _to_days(order: str, column: Texts, *, clock: bool = False) -> Texts:
    """Return dates of texts such as 31.1.2026; `order` says where year, month and day stand."""
    first, second, third = r"(\d+)[./-]", r"(\d+)[./-]", r"(\d+)"
    iso = pc.replace_substring_regex(column, rf"^{first}{second}{third}", order)
    iso = pc.replace_substring_regex(iso, r"-(\d)(-|,|T| |$)", r"-0\1\2")
    iso = pc.replace_substring_regex(iso, r"-(\d)(,|T| |$)", r"-0\1\2")  # the month before took the sign between
    if not clock:
        return iso.cast(pa.date32())
    return pc.replace_substring_regex(pc.replace_substring_regex(iso, r",?[ T]+", "T"), r"T(\d):", r"T0\1:").cast(
        pa.timestamp("us")
    )


def _dates(name: str, pattern: str, order: str) -> tuple[Reading, Reading]:
    return (
        Reading(name, pa.date32(), rf"^{pattern}$", partial(_to_days, order)),
        Reading(name, pa.timestamp("us"), rf"^{pattern}{_CLOCK}$", partial(_to_days, order, clock=True)),
    )


def _plain(kind: pa.DataType, pattern: str) -> Reading:
    return Reading("", kind, pattern, partial(_cast, kind))


INTEGER = _plain(pa.int64(), r"^-?(0|[1-9]\d{0,17})$")
FLOAT = _plain(pa.float64(), _FLOAT)
BOOLEAN = _plain(pa.bool_(), r"^(true|false|True|False|TRUE|FALSE)$")
ISO_DATES = (
    _plain(pa.date32(), r"^\d{4}-\d{2}-\d{2}$"),
    _plain(pa.timestamp("us"), rf"{_INSTANT}$"),
    _plain(pa.timestamp("us", "UTC"), rf"{_INSTANT}(Z|[+-]\d{{2}}:?\d{{2}})$"),
)
POINT = Reading("decimal point", pa.float64(), _number(",", r"\."), partial(_to_number, "."))
COMMA = Reading("decimal comma", pa.float64(), _number(r"\.", ","), partial(_to_number, ","))
DMY = _dates("day, month, year", _DMY, r"\3-\2-\1")
MDY = _dates("month, day, year", _MDY, r"\3-\1-\2")
YMD = _dates("year, month, day", _YMD, r"\1-\2-\3")
_SHORT_YEAR = Reading(DMY[0].name, pa.date32(), rf"^{_DAY}[./-]{_MONTH}[./-]\d{{2}}$", partial(_to_days, r"20\3-\2-\1"))

DECLARED: Final[dict[str, tuple[Reading, ...]]] = {
    "text": (),
    "number": (FLOAT, POINT, COMMA),
    "decimal_point": (POINT, FLOAT),
    "decimal_comma": (COMMA,),
    "boolean": (BOOLEAN,),
    "date": (*ISO_DATES, *DMY, *MDY, *YMD),
    "date_dmy": (*DMY, _SHORT_YEAR, ISO_DATES[0]),
    "date_mdy": (*MDY, ISO_DATES[0]),
}


def looks_like_value(column: Texts, *, asked: bool = False) -> Texts:
    """Return a mask of the texts that people would read as a number or a date.

    Args:
        asked: they are what a query asks for; those that products have may have a unit, such as 5 cm.
    """
    patterns = (_NUMBER_ASKED if asked else _NUMBER_HELD, _DATE_HELD)
    return pc.or_(*(pc.match_substring_regex(column, pattern) for pattern in patterns))


def _keeps_digits(column: Texts) -> bool:
    """Tell whether floats would be written with the digits that the texts have."""
    long = column.filter(pc.greater(pc.utf8_length(column), _EXACT))
    return all(_keeps_digits_of(text) for text in long.to_pylist())


def _keeps_digits_of(text: str) -> bool:
    try:
        return _digits(text) == _digits(repr(float(text)))
    except ValueError:  # written with a currency, or thousands
        return len(re.sub(r"\D", "", text)) <= _EXACT


def _digits(number: str) -> str:
    mantissa = number.lower().partition("e")[0]
    return mantissa.lstrip("-").replace(".", "").strip("0")
