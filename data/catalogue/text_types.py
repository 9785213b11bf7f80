"""Types of text: what columns of text are written in, such as prices with a currency or dates of a spreadsheet.

A type is found by looking at every value of a column. Where two readings of a column remain that differ, such as
1,234 with a decimal comma or with thousands, nobody may guess: the column stays text until its type is declared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.findings import shorten
from lookalike.data.catalogue.readings import (
    BOOLEAN,
    COMMA,
    DECLARED,
    DMY,
    FLOAT,
    INTEGER,
    ISO_DATES,
    MDY,
    POINT,
    SAME_CURRENCY,
    YMD,
    Reading,
    Texts,
)
from lookalike.data.catalogue.types import type_name
from lookalike.data.errors import CatalogueError
from lookalike.data.reports import AttributeFinding

# tried in this order; a type is taken where every value of the column is written as one of it
_OF_CSV = (INTEGER, FLOAT, BOOLEAN, *ISO_DATES, *DMY, *MDY, *YMD, POINT, COMMA)
_OF_PROGRAMS = (*ISO_DATES, *DMY, *MDY, *YMD, POINT, COMMA)
_NUMBERS = (POINT, COMMA)

_CHOICES = {"number": ("decimal_point", "decimal_comma"), "date": ("date_dmy", "date_mdy")}


@dataclass
class _Seen:
    """What is known of one column of text."""

    readings: list[Reading]
    filled: bool = False
    separated: bool = False  # a number has a point or a comma
    currencies: set[str] = field(default_factory=set)
    unusual: bool = False  # a number is written as no program writes it
    example: str | None = None
    misfit: str | None = None


class TextTypes:
    """The types that columns of text are written in, found batch by batch: one that every value is written as."""

    def __init__(self, *, by_programs: bool = False, semicolons: bool = False) -> None:
        """Begin to look.

        Args:
            by_programs: numbers and booleans would not be text, were they meant as such: JSON, Parquet.
            semicolons: the file has semicolons between its values, so its point may be one for thousands.
        """
        self._by_programs = by_programs
        self._semicolons = semicolons
        self._seen: dict[str, _Seen] = {}

    def narrow(self, name: str, column: Texts) -> None:
        """Drop the readings that a value of this batch is not written as."""
        seen = self._seen.setdefault(name, _Seen(list(_OF_PROGRAMS if self._by_programs else _OF_CSV)))
        if column.null_count == len(column):
            return
        seen.filled = True
        if seen.example is None:
            seen.example = column.drop_null()[0].as_py()
        if seen.readings:
            before = seen.readings
            self._drop_readings(seen, column)
            if not seen.readings:
                seen.misfit = _find_misfit(before, column)

    def is_open(self, name: str) -> bool:
        """Tell whether a column may still turn out to be anything but text."""
        return name not in self._seen or bool(self._seen[name].readings)

    def has_seen(self, name: str) -> bool:
        """Tell whether a column has been looked at."""
        return name in self._seen

    def keep_text(self, name: str) -> None:
        """Leave a column as it is."""
        self._seen.setdefault(name, _Seen([])).readings = []

    def found(self, name: str) -> Reading | None:
        """Return how a column is read; None where it has no value, or is text."""
        seen = self._seen.get(name)
        if seen is None or not seen.filled or not seen.readings or self._doubt(name):
            return None
        first = seen.readings[0]
        if first in _NUMBERS and self._by_programs and not seen.unusual:
            return None
        return first

    def apply(self, table: pa.Table) -> pa.Table:
        """Return a batch with its columns in the types found; one without any value stays text."""
        for place, name in enumerate(table.column_names):
            if (reading := self.found(name)) is not None:
                table = table.set_column(place, name, reading.convert(table.column(place)))
        return table

    def describe(self, name: str) -> AttributeFinding:
        """Return which type a column has, and why."""
        seen, reading = self._seen.get(name, _Seen([])), self.found(name)
        example = None if seen.example is None else shorten(seen.example)
        if reading is None:
            misfit = None if seen.misfit is None else shorten(seen.misfit)
            return AttributeFinding(type="string", how=self._doubt(name) or "", example=example, misfit=misfit)
        currencies = [f"currency {one}" for one in sorted(seen.currencies)] if reading in _NUMBERS else []
        how = ", ".join(part for part in (reading.name, *currencies) if part)
        return AttributeFinding(type=type_name(reading.kind), how=how, example=example)

    def _drop_readings(self, seen: _Seen, column: Texts) -> None:
        kept: list[Reading] = []
        for reading in seen.readings:
            # whole numbers are written the same with either sign, so the later readings need no look
            implied = reading in _NUMBERS and INTEGER in kept and FLOAT in kept
            if implied or (reading is POINT and FLOAT in kept) or reading.fits(column):
                kept.append(reading)
        seen.readings = kept
        if INTEGER in kept or not any(one in kept for one in _NUMBERS):
            return
        seen.separated = seen.separated or bool(pc.any(pc.match_substring_regex(column, r"[.,]\d")).as_py())
        if FLOAT not in kept:
            _note_currencies(seen, column)

    def _doubt(self, name: str) -> str | None:
        """Return why a column stays text although its values look like something else; None where nothing is open."""
        seen = self._seen.get(name)
        if seen is None or not seen.filled or not seen.readings:
            return None
        first, rest = seen.readings[0], seen.readings
        if first in DMY and any(one in rest for one in MDY):
            return "day or month first? Declare date_dmy or date_mdy"
        if first is FLOAT and self._semicolons and COMMA in rest and seen.separated:
            return "thousands or decimals behind the point? Declare decimal_point or decimal_comma"
        if first is POINT and COMMA in rest and seen.separated:
            return "thousands or decimals? Declare decimal_point or decimal_comma"
        if first in _NUMBERS and len(seen.currencies) > 1:
            return f"several currencies: {', '.join(sorted(seen.currencies)[:5])}"
        return None


def _note_currencies(seen: _Seen, column: Texts) -> None:
    seen.unusual = seen.unusual or not pc.all(FLOAT.matches(column)).as_py()
    marks = pc.unique(pc.replace_substring_regex(column, r"[-\x{2212}+\d.,'\x{2019}\x{2013}\s\x{a0}\x{202f}]", ""))
    for mark in marks.drop_null().to_pylist():
        if mark and len(seen.currencies) < 10:
            seen.currencies.add(SAME_CURRENCY.get(mark.upper(), mark.upper()))


def _find_misfit(readings: list[Reading], column: Texts) -> str | None:
    """Return a value that none of the readings takes, where most values of the column would be taken by one."""
    values = column.drop_null()
    for reading in readings:
        wrong = values.filter(pc.invert(reading.matches(values)))
        if 0 < len(wrong) < len(values) / 2:
            found: str = wrong[0].as_py()
            return found
    return None


class DeclaredTypes:
    """The types that people have declared for columns of text: what does not fit counts as missing, and is counted."""

    def __init__(self, declared: dict[str, str]) -> None:
        self._declared = declared
        self._fits: dict[str, list[int]] = {name: [0] * len(DECLARED[kind]) for name, kind in declared.items()}
        self._values: dict[str, int] = dict.fromkeys(declared, 0)
        self._separated: set[str] = set()
        self._misfits: dict[str, tuple[int, str]] = {}
        self._examples: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._declared

    def count(self, name: str, column: Texts) -> None:
        """Count how many values of this batch each reading takes."""
        self._values[name] += len(column) - column.null_count
        if name not in self._examples and column.null_count < len(column):
            self._examples[name] = column.drop_null()[0].as_py()
        for place, reading in enumerate(DECLARED[self._declared[name]]):
            self._fits[name][place] += pc.sum(reading.matches(column)).as_py() or 0

    def apply(self, table: pa.Table) -> pa.Table:
        """Return a batch with the declared columns in their types. Raises `CatalogueError` if two readings remain."""
        for place, name in enumerate(table.column_names):
            if name in self._declared and (reading := self._reading(name)) is not None:
                table = table.set_column(place, name, self._convert(name, reading, table.column(place)))
        return table

    def describe(self, name: str) -> AttributeFinding:
        """Return which type a column has, and what did not fit."""
        reading, (misfits, misfit) = self._reading(name), self._misfits.get(name, (0, None))
        return AttributeFinding(
            type="string" if reading is None else type_name(reading.kind),
            how="declared" if reading is None or not reading.name else f"declared, {reading.name}",
            example=shorten(self._examples[name]) if name in self._examples else None,
            misfits=misfits,
            misfit=None if misfit is None else shorten(misfit),
        )

    def _reading(self, name: str) -> Reading | None:
        kind = self._declared[name]
        readings, fits = DECLARED[kind], self._fits[name]
        if not readings:
            return None
        best = max(fits)
        first, *others = [reading for reading, count in zip(readings, fits, strict=True) if count == best]
        undecided = [one for one in others if {first.name, one.name} == {DMY[0].name, MDY[0].name}]
        undecided += [one for one in others if first is POINT and one is COMMA]
        if best and undecided:
            raise CatalogueError(
                f"the column {name!r} can be read in two ways, as in {self._examples[name]!r}: declare "
                f"{' or '.join(_CHOICES[kind])} instead of {kind}"
            )
        return first

    def _convert(self, name: str, reading: Reading, column: Texts) -> Texts:
        fitting = pc.fill_null(reading.matches(column), False)
        values = pc.if_else(fitting, column, pa.scalar(None, pa.string()))
        try:
            converted = reading.convert(values)
        except pa.ArrowInvalid:  # a date that is none: 31.02.2026
            converted = pa.chunked_array(
                [pa.array([_convert_one(reading, one) for one in values.to_pylist()], reading.kind)]
            )
        lost = converted.null_count - column.null_count
        if lost > 0:
            count, first = self._misfits.get(name, (0, None))
            if first is None:
                first = column.filter(pc.and_(column.is_valid(), converted.is_null()))[0].as_py()
            self._misfits[name] = count + lost, first
        return converted


def _convert_one(reading: Reading, text: str | None) -> object:
    try:
        return reading.convert(pa.array([text], pa.string()))[0].as_py()
    except pa.ArrowInvalid:
        return None
