"""CSV as shops write it, read a batch of rows at a time, each column in one type throughout.

A row that cannot be understood is a reject with its line, and the rows after it are read.
"""

from __future__ import annotations

import functools
import mmap
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lookalike.data.catalogue.columns import OWN_COLUMNS, Layout, find_layout
from lookalike.data.catalogue.files.cells import CellCleaner
from lookalike.data.catalogue.files.dialect import SEPARATORS, Dialect, find_dialect, rewrite_unspaced, split_row
from lookalike.data.catalogue.files.text_file import MOST_BAD_LINES, TextFile, bad_line, read_as_utf8
from lookalike.data.catalogue.findings import shorten
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.catalogue.tables import Part, TableRequest
from lookalike.data.catalogue.text_types import DeclaredTypes, TextTypes
from lookalike.data.errors import CatalogueError

CSV_BLOCK_BYTES = 4 * 2**20  # no single row may be longer
_LINE_END = re.compile(rb"\r\n?|\n")
_FLOAT_ID = r"^\d+\.0$"
_OPEN_QUOTE = (
    'the quote (") that opens a value here is not closed. Close it; a value that contains a quote is written "12"" pan"'
)


@functools.lru_cache(maxsize=len(SEPARATORS))
def _sound(separator: str) -> re.Pattern[bytes]:
    """Return what matches text whose quotes are all closed.

    One pattern for many values: a step of Python for each of them would take as long as reading does.
    """
    sign = re.escape(separator).encode()
    return re.compile(
        rb"""(?:
            [^"]++
            | " (?: (?<=[^SEPARATOR\r\n]") (?<!\A\xef\xbb\xbf")      # in the middle of a value: a part of it
                  | [^"]*+ (?: "" [^"]*+ )*+ " (?=[SEPARATOR\r\n]|\Z)  # opens a value, and another closes it at its end
                  | [^"\r\n]*+ (?: "" [^"\r\n]*+ )*+ " (?!")         # or before its end, but in the same line
            )
        ){0,10000}+""".replace(b"SEPARATOR", sign),
        re.VERBOSE,
    )


@dataclass
class _CsvFile:
    """A CSV that can be read."""

    text: TextFile
    dialect: Dialect


@dataclass
class _Unusual:
    """Rows of one batch that are not like the others: a count and the text of each that cannot be used."""

    expected: int
    bad: list[tuple[int, str]] = field(default_factory=list)
    repaired: list[list[str]] = field(default_factory=list)
    empty: int = 0


class _UnusualRows:
    """Takes rows that have more or fewer values than there are names, from the threads of Arrow that read ahead."""

    def __init__(self, separator: str, expected: int) -> None:
        self._separator = separator
        self._expected = expected
        self._rows: deque[tuple[int, str]] = deque()

    def take(self, row: pa.csv.InvalidRow) -> str:
        """Take one."""
        self._rows.append((row.actual_columns, row.text))
        return "skip"

    def drain(self) -> _Unusual:
        """Return what was taken. Rows that differ in empty values only are rows like others."""
        found = _Unusual(self._expected)
        while self._rows:
            count, text = self._rows.popleft()
            values = split_row(text, self._separator)
            while len(values) > self._expected and not values[-1].strip():
                values.pop()
            if not any(value.strip() for value in values or [text]):
                found.empty += 1
            elif len(values) == self._expected:
                found.repaired.append(values)
            else:
                found.bad.append((count, text))
        return found


def read_csv(files: Sequence[Path], request: TableRequest) -> Iterator[Part]:
    """Yield the products of CSV files that are parts of one catalogue. Raises `CatalogueError`."""
    parts = [_prepare(file, request) for file in files]
    first = parts[0].dialect
    sign, names = SEPARATORS[first.separator], first.names
    layout = find_layout(names, request.columns, request.name, request.findings, separator=sign)
    for part in parts[1:]:
        if [name.strip() for name in part.dialect.names] != [name.strip() for name in names]:
            raise CatalogueError(
                f"the parts of {request.name} have different columns: {names} and {part.dialect.names}"
            )
    request.use(layout)
    if first.separator != ",":
        request.findings.note(f"the file has {sign} between its values")
    yield from _Typed(parts, layout, request).read()


class _Typed:
    """Two passes: the first finds the types, for a guess from the first rows fails on the later ones."""

    def __init__(self, parts: Sequence[_CsvFile], layout: Layout, request: TableRequest) -> None:
        self._parts = parts
        self._layout = layout
        self._request = request
        self._types = TextTypes(semicolons=parts[0].dialect.separator == ";")
        declared = {name: kind for name, kind in request.columns.types.items() if name in layout.attributes}
        self._declared = DeclaredTypes(declared)
        self._float_ids = True
        apostrophes = layout.preset is not None and layout.preset.apostrophes
        self._cells = CellCleaner(apostrophes=apostrophes, formulas=any(part.dialect.formulas for part in parts))

    def read(self) -> Iterator[Part]:
        for part in self._parts:
            for table, _ in _read_rows(part, self._layout):
                self._narrow(table)
        for part in self._parts:
            for reject in part.text.rejects:
                yield Part(None, [reject])
            lines = _Lines(part)
            for table, unusual in _read_rows(part, self._layout):
                cleaned = _without_empty(self._cells.clean(table), unusual)
                if unusual.empty:
                    self._request.findings.note("rows of empty cells, skipped", unusual.empty)
                typed = self._types.apply(self._declared.apply(self._whole_ids(cleaned)))
                yield Part(typed, lines.rejects_of(unusual))
        for name in self._layout.attributes:
            found = self._declared if name in self._declared else self._types
            self._request.findings.attributes[name] = found.describe(name)

    def _narrow(self, table: pa.Table) -> None:
        for name in table.column_names:
            column = table.column(name)
            if name in self._declared:
                self._declared.count(name, self._cells.look(name, column))
                self._types.keep_text(name)
            elif name in self._layout.several or name == self._layout.parent:
                self._types.keep_text(name)
            elif name in OWN_COLUMNS:
                self._narrow_id(name, column)
            elif self._types.is_open(name):
                self._types.narrow(name, self._cells.look(name, column))
            else:
                self._cells.forget(name)

    def _narrow_id(self, name: str, column: pa.ChunkedArray) -> None:
        if name == "id" and self._float_ids:
            found = pc.all(pc.match_substring_regex(pc.utf8_trim_whitespace(column), _FLOAT_ID))
            self._float_ids = found.as_py() is not False

    def _whole_ids(self, table: pa.Table) -> pa.Table:
        """Return ids without the .0 that pandas writes where one of them is missing."""
        if not self._float_ids:
            return table
        place = table.schema.get_field_index("id")
        return table.set_column(place, "id", pc.replace_substring_regex(table.column(place), r"\.0$", ""))


def _prepare(file: Path, request: TableRequest) -> _CsvFile:
    name = request.name
    if not file.stat().st_size:
        raise CatalogueError(f"the catalogue {name} is empty")
    text = read_as_utf8(file, request)
    with text.path.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    if not first:
        raise CatalogueError(f"the catalogue {name} is empty")
    dialect = find_dialect(text.path)
    if dialect.spaced:
        unspaced = request.folder / f"{text.path.name}.unspaced"
        rewrite_unspaced(text.path, unspaced, dialect.separator)
        text = replace(text, path=unspaced)
    if dialect.lines_before:
        request.findings.note("lines above the names of the columns, skipped", dialect.lines_before)
    return _CsvFile(_close_quotes(text, dialect, name, request.folder), dialect)


def _close_quotes(text: TextFile, dialect: Dialect, name: str, folder: Path) -> TextFile:
    """Return the text without the lines where a quote opens a value and nothing closes it. Raises `CatalogueError`."""
    bad: dict[int, str] = {}
    sound = _sound(dialect.separator)
    with text.path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place, line, counted = 0, 1, 0
        while place < len(data):
            found = sound.match(data, place)
            if found and found.end() > place:
                place = found.end()
                continue
            line, counted = line + sum(1 for _ in _LINE_END.finditer(data, counted, place)), place
            if line <= dialect.lines_before + 1 or len(bad) == MOST_BAD_LINES:
                raise CatalogueError(f"{name}, line {text.original_line(min(bad, default=line))}: {_OPEN_QUOTE}")
            bad[line] = _OPEN_QUOTE
            end = _LINE_END.search(data, place)
            place = end.end() if end else len(data)
    return text.leave_out(folder / f"{text.path.name}.sound", bad) if bad else text


def _read_rows(file: _CsvFile, layout: Layout) -> Iterator[tuple[pa.Table, _Unusual]]:
    """Yield the columns that are used, as text; and the rows that are not like others."""
    dialect = file.dialect
    rows = _UnusualRows(dialect.separator, len(dialect.names))
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(dialect.names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    options = pa.csv.ReadOptions(block_size=CSV_BLOCK_BYTES, skip_rows=dialect.lines_before)
    parse = pa.csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True, invalid_row_handler=rows.take)
    nameless = [place for place, name in enumerate(dialect.names) if place and not name.strip()]
    with pa.csv.open_csv(file.text.path, read_options=options, convert_options=convert, parse_options=parse) as reader:
        for batch in reader:
            unusual = rows.drain()
            table = pa.Table.from_batches([batch])
            if unusual.repaired:
                table = pa.concat_tables([table, _as_table(unusual.repaired, table.schema)])
            table = _without_shifted(table, nameless, dialect.separator, unusual)
            yield layout.select(table), unusual
        unusual = rows.drain()
        last = _as_table(unusual.repaired, reader.schema) if unusual.repaired else reader.schema.empty_table()
        yield layout.select(last), unusual


def _as_table(rows: list[list[str]], schema: pa.Schema) -> pa.Table:
    columns = [[value or None for value in column] for column in zip(*rows, strict=True)]
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=schema)


def _without_shifted(table: pa.Table, nameless: list[int], separator: str, unusual: _Unusual) -> pa.Table:
    """Return the rows without a value where there is no name: a comma too many has moved their values."""
    for place in nameless:
        shifted = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(table.column(place)), ""), False)
        wrong = table.filter(shifted)
        for row in range(wrong.num_rows):
            cells = [column[row].as_py() or "" for column in wrong.columns]
            unusual.bad.append((place + 1, separator.join(cells).rstrip(separator)))
        table = table.filter(pc.invert(shifted)) if wrong.num_rows else table
    return table


def _without_empty(table: pa.Table, unusual: _Unusual) -> pa.Table:
    """Return the rows that have any value: spreadsheets write rows of empty cells behind the last one."""
    empty = pc.and_(table["id"].is_null(), table["image"].is_null())
    if not pc.any(empty).as_py():
        return table
    for column in table.columns:
        empty = pc.and_(empty, column.is_null())
    unusual.empty += pc.sum(empty).as_py() or 0
    return table.filter(pc.invert(empty))


class _Lines:
    """Finds the lines of rows in a file, as long as there are few."""

    def __init__(self, file: _CsvFile) -> None:
        self._file = file
        self._place = 0
        self._line = 1
        self._found = 0

    def rejects_of(self, rows: _Unusual) -> list[Reject]:
        return [bad_line(self._find(text), self._describe(rows.expected, count, text)) for count, text in rows.bad]

    def _describe(self, expected: int, count: int, text: str) -> str:
        sign = SEPARATORS[self._file.dialect.separator]
        return (
            f"{count} values, and the first line has {expected} names, separated by {sign}: {shorten(text)}. Quote a "
            'value that contains the sign, as in "small, red"'
        )

    def _find(self, text: str) -> int | None:
        if self._found == MOST_BAD_LINES:
            return None
        self._found += 1
        wanted = text.strip("\r\n").encode()
        row = re.compile(rb"(?:\A|(?<=[\r\n]))" + re.escape(wanted) + rb"(?=[\r\n]|\Z)")
        with self._file.text.path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = row.search(data, self._place) or row.search(data)
            if found is None:
                return None
            if found.start() < self._place:  # threads may report rows in another order
                self._place, self._line = 0, 1
            line = self._line + sum(1 for _ in _LINE_END.finditer(data, self._place, found.start()))
            self._line = line + sum(1 for _ in _LINE_END.finditer(wanted))
            self._place = found.end()
        return self._file.text.original_line(line)
