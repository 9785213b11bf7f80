"""Dialects of CSV: which sign a file has between its values, found by looking at its first rows."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SAMPLE_BYTES = 2**16
SAMPLE_ROWS = 50


def find_separator(file: Path) -> str:
    """Return the sign between the values of a file in UTF-8; a comma where nothing says otherwise."""
    text = _read_sample(file)
    first = text.partition("\n")[0].strip().lower().strip('"')
    if len(first) == 5 and first.startswith("sep=") and first[4] in SEPARATORS:  # a spreadsheet's own word for it
        return first[4]
    return max(SEPARATORS, key=lambda one: (*_rate(text, one), one == ","))


def split_first_row(file: Path, separator: str, *, skipped: int = 0) -> list[str]:
    """Return the names of the columns, which stand after `skipped` rows."""
    return next(itertools.islice(_rows(_read_sample(file), separator), skipped, None), [])


def split_row(text: str, separator: str) -> list[str]:
    """Return the values of one row."""
    return next(_rows(text, separator), [])


def _read_sample(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(SAMPLE_BYTES)
        text = data.decode("utf-8-sig", "replace")
        return text if len(data) < SAMPLE_BYTES else text.rpartition("\n")[0]  # the last row may be cut


def _rate(text: str, separator: str) -> tuple[float, int]:
    """Return the share of rows that have as many values as the header has names, and how many that are."""
    header, *rows = list(_rows(text, separator))[: SAMPLE_ROWS + 1] or [[]]
    if len(header) < 2:
        return 0.0, 0
    alike = sum(len(row) == len(header) for row in rows)
    return (alike + 1) / (len(rows) + 1), len(header)


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        yield from (row for row in reader if row)
    except csv.Error:  # a value of more than 128 kB: what was read so far has to do
        return
