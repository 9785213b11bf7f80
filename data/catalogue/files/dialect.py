"""Dialects of CSV: how a file separates its values and where its names stand, found by looking at its first rows."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SAMPLE_BYTES = 2**20
SAMPLE_ROWS = 50
MOST_LINES_BEFORE = 20
LONGEST_VALUE = 4 * 2**20

csv.field_size_limit(LONGEST_VALUE)  # descriptions are longer than the 128 kB of Python's default


@dataclass(frozen=True)
class Dialect:
    """How a CSV in UTF-8 is written.

    Attributes:
        separator: the sign between the values.
        names: those of the columns.
        lines_before: how many lines stand above the names.
        spaced: quotes may stand behind a space: `1, "a, b"`.
        formulas: values may be written as `="0042"`, which a spreadsheet shows as 0042.
    """

    separator: str
    names: list[str]
    lines_before: int
    spaced: bool
    formulas: bool


def find_dialect(file: Path) -> Dialect:
    """Return how a file is written; with commas where nothing says otherwise."""
    text = _read_sample(file)
    separator = _find_own_word(text)
    choices = [separator] if separator else list(SEPARATORS)
    rated = {(one, spaced): _rate(text, one, spaced=spaced) for one in choices for spaced in (False, True)}
    best = max(rated, key=lambda one: (*rated[one][:2], one[0] == ",", not one[1]))
    _, _, before, names = rated[best]
    return Dialect(best[0], names, before, best[1], '="' in text)


def rewrite_unspaced(file: Path, target: Path, separator: str) -> None:
    """Write a copy of a CSV without the spaces before its values."""
    with file.open(encoding="utf-8-sig", newline="") as source, target.open("w", encoding="utf-8", newline="") as copy:
        rows = csv.reader(source, delimiter=separator, skipinitialspace=True)
        csv.writer(copy, delimiter=separator, lineterminator="\n").writerows(rows)


def split_row(text: str, separator: str) -> list[str]:
    """Return the values of one row; none where they cannot be told apart."""
    return next((row for _, row in _rows(text, separator, spaced=False)), [])


def _find_own_word(text: str) -> str | None:
    """Return what a spreadsheet says of itself in a first line such as `sep=;`."""
    first = text.partition("\n")[0].strip("\r").lower().strip('"')
    return first[4] if len(first) == 5 and first.startswith("sep=") and first[4] in SEPARATORS else None


def _read_sample(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(SAMPLE_BYTES)
        text = data.decode("utf-8-sig", "replace")
        # the last row may be cut
        return text if len(data) < SAMPLE_BYTES or "\n" not in text else text.rpartition("\n")[0]


def _rate(text: str, separator: str, *, spaced: bool) -> tuple[float, int, int, list[str]]:
    """Return the share of rows that have as many values as there are names, how many, the lines before, and the names.

    Above the names may be lines with one value: a title, a remark, or what a spreadsheet says of itself.
    """
    rows = list(itertools.islice(_rows(text, separator, spaced=spaced), SAMPLE_ROWS + 1))
    above = itertools.takewhile(lambda one: sum(bool(cell.strip()) for cell in one[1]) < 2, rows[:MOST_LINES_BEFORE])
    start = len(list(above))
    if start == len(rows) or start == MOST_LINES_BEFORE:
        return 0.0, 0, 0, rows[0][1] if rows else []
    before, names = rows[start]
    alike = sum(len(row) == len(names) for _, row in rows[start:])
    return alike / (len(rows) - start), len(names), before, names


def _rows(text: str, separator: str, *, spaced: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that has any value, with the number of lines before it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaced)
    before = 0
    try:
        for row in reader:
            if row:
                yield before, row
            before = reader.line_num
    except csv.Error:  # longer than any value may be: what was read so far has to do
        return
