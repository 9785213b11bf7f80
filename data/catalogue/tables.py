"""Catalogue files: CSV, JSONL and Parquet, read a batch of rows at a time, each column in one type throughout.

Quotes in CSV: a value whose quote is never closed takes the lines after it along, without a word.
"""

from __future__ import annotations

import codecs
import itertools
import json
import mmap
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lookalike.data.catalogue.types import TextTypes
from lookalike.data.errors import CatalogueError

# one pattern for many values: a step of Python for each of them would take as long as reading does
_SOUND = re.compile(
    rb"""(?:
        [^"]++
        | " (?: (?<=[^,\r\n]") (?<!\A\xef\xbb\xbf")          # in the middle of a value: a part of it
              | [^"]*+ (?: "" [^"]*+ )*+ " (?=[,\r\n]|\Z)    # opens a value, and another one closes it at its end
              | [^"\r\n]*+ (?: "" [^"\r\n]*+ )*+ " (?!")     # or before its end, but in the same line
        )
    ){0,10000}+""",
    re.VERBOSE,
)
_LINE_END = re.compile(rb"\r\n?|\n")

OWN_COLUMNS = ("id", "title", "image")
BATCH_ROWS = 8192
CSV_BLOCK_BYTES = 4 * 2**20  # no single row may be longer

SHOWN = 40  # characters of a value, in an error

_CSV = {
    "read_options": pa.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
    "parse_options": pa.csv.ParseOptions(newlines_in_values=True),
}

_Row: TypeAlias = dict[str, Any]


def check_quotes(file: Path, name: str) -> None:
    """See that each quote that opens a value of a CSV is closed where the value ends. Raises `CatalogueError`."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        sound = 0
        while (found := _SOUND.match(text, sound)) and found.end() > sound:
            sound = found.end()
        if sound == len(text):
            return
        line = 1 + sum(1 for _ in _LINE_END.finditer(text, 0, sound))
    raise CatalogueError(
        f'{name}, line {line}: the quote (") that opens a value here is not closed, so what follows, line after line, '
        'becomes part of the value. Close it; a value that contains a quote is written "12"" pan"'
    )


def table_reader(name: str) -> Callable[[Path, str], Iterator[pa.Table]] | None:
    """Return what reads a catalogue file of this name; None for a name that is no table's.

    A reader takes the file and the name to call it by in errors, and yields tables with the same columns, as they
    were written. It raises `CatalogueError`, and what Arrow and the file system raise.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".parquet": _read_parquet}
    return readers.get(PurePath(name).suffix.lower())


def check_names(names: list[str], location: str) -> None:
    """See that a catalogue has the columns it needs, and none twice. Raises `CatalogueError`."""
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise CatalogueError(f"the catalogue {location} has the column {' and '.join(map(repr, twice))} twice")
    missing = [name for name in ("id", "image") if name not in names]
    if missing:
        raise CatalogueError(
            f"the catalogue {location} lacks the column {' and '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, names))}. Rename its columns: 'id' (unique), 'image' (a path, s3://… or "
            "https://… reference), 'title' (by choice); all others become attributes to filter by"
        )


def _read_csv(file: Path, name: str) -> Iterator[pa.Table]:
    with file.open("rb") as lines:
        if not any(line.strip() for line in lines):
            raise CatalogueError(f"the catalogue {name} is empty")
    _refuse_utf16(file, name)
    check_quotes(file, name)
    names = _csv_names(file, name)
    check_names([column.strip() for column in names], name)
    # types are found by looking at whole columns: a guess from the first rows fails on the later ones
    types = TextTypes()
    for batch in _csv_batches(file, names):
        _check_nameless(batch, name)
        for place in _find_named(names):
            if names[place].strip() not in OWN_COLUMNS:
                types.narrow(names[place], batch.column(place))
    for batch in _csv_batches(file, names):
        yield types.apply(batch.select(_find_named(names)))


def _refuse_utf16(file: Path, name: str) -> None:
    with file.open("rb") as opened:
        if opened.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            raise CatalogueError(f"the catalogue {name} is in UTF-16, as its first two bytes say: save it as UTF-8")


def _csv_names(file: Path, name: str) -> list[str]:
    with pa.csv.open_csv(file, **_CSV) as reader:
        try:
            return list(reader.schema.names)
        except UnicodeDecodeError as error:
            raise CatalogueError(f"the header of {name} is not in UTF-8: save the file as UTF-8") from error


def _csv_batches(file: Path, names: list[str]) -> Iterator[pa.Table]:
    text = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    with pa.csv.open_csv(file, convert_options=text, **_CSV) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _find_named(names: list[str]) -> list[int]:
    return [place for place, name in enumerate(names) if name.strip()]


def _check_nameless(batch: pa.Table, name: str) -> None:
    """See that columns without a name, as spreadsheets write them, are empty. Raises `CatalogueError`."""
    nameless = set(range(batch.num_columns)) - set(_find_named(batch.column_names))
    for place in sorted(nameless - {0}):  # pandas writes the numbers of the rows into a first column without a name
        values = batch.column(place).drop_null()
        if len(values):
            raise CatalogueError(
                f"the catalogue {name} has values in column {place + 1}, such as {values[0].as_py()[:SHOWN]!r}, and no "
                "name for it: name it in the first line, or remove it"
            )


def _read_parquet(file: Path, _name: str) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _read_jsonl(file: Path, name: str) -> Iterator[pa.Table]:
    _refuse_utf16(file, name)
    types: dict[str, pa.DataType] = {}
    dates = TextTypes(only_dates=True)  # JSON writes all other types as what they are
    for rows in _split_batches(_objects(file, name)):
        for column in dict.fromkeys(key for row in rows for key in row):
            _check_name(column, name)
            found = _json_type(column, rows)
            known = types.get(column, found)
            _look_for_dates(dates, column, rows, known, found)
            types[column] = _common(known, found)
    for rows in _split_batches(_objects(file, name)):
        yield pa.table(
            {column: _cast_dates(_json_column(column, rows, kind), dates, column) for column, kind in types.items()}
        )


def _check_name(column: str, name: str) -> None:
    try:
        column.encode()
    except UnicodeEncodeError as error:
        raise CatalogueError(
            f"{name}: the name of the column {column!r} holds half a character: write it whole"
        ) from error


def _look_for_dates(dates: TextTypes, column: str, rows: list[_Row], known: pa.DataType, found: pa.DataType) -> None:
    if pa.types.is_null(_item(found)):
        return
    same = known == found or pa.types.is_null(_item(known))
    if column in OWN_COLUMNS or not same or not pa.types.is_string(_item(found)):
        dates.keep_text(column)
        return
    values = _json_column(column, rows, found)
    dates.narrow(column, values.flatten() if pa.types.is_list(found) else values)


def _item(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) else kind


def _cast_dates(column: pa.Array, dates: TextTypes, name: str) -> pa.Array:
    kind = dates.found(name)
    if kind is None:
        return column
    return column.cast(pa.list_(kind) if pa.types.is_list(column.type) else kind)


def _split_batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    waiting = iter(rows)
    while batch := list(itertools.islice(waiting, BATCH_ROWS)):
        yield batch


def _objects(file: Path, name: str) -> Iterator[_Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except UnicodeDecodeError as error:
                raise CatalogueError(f"{name}, line {number}: not in UTF-8: save the file as UTF-8") from error
            except (ValueError, RecursionError) as error:
                raise CatalogueError(f"{name}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise CatalogueError(f"{name}, line {number}: each line must be a JSON object, like {{…}}")
            yield row


def _json_type(column: str, rows: list[_Row]) -> pa.DataType:
    if column in OWN_COLUMNS:  # ids are often written as numbers; what was written is what is kept
        return pa.string()
    try:
        return pa.array([row.get(column) for row in rows]).type
    except UnicodeEncodeError as error:
        raise CatalogueError(f"the column {column!r} holds half a character: {error}") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a column of mixed types is compared as text
        return pa.string()


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type that holds both: text, where nothing else does."""
    try:
        both = [pa.schema([("", kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def _json_column(column: str, rows: list[_Row], kind: pa.DataType) -> pa.Array:
    values = [row.get(column) for row in rows]
    if pa.types.is_string(kind):
        values = [_as_text(value) for value in values]
    elif pa.types.is_floating(kind):  # Arrow takes no whole number for one that a float cannot hold exactly
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError as error:
        raise CatalogueError(f"the column {column!r} holds half a character: {error}") from error


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
