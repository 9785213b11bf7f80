"""JSONL, read a batch of rows at a time, each column in one type throughout; and a JSON array of objects."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from lookalike.data.catalogue.columns import Layout, find_layout, leave_out_nested
from lookalike.data.catalogue.files.text_file import TextFile, bad_line, read_as_utf8
from lookalike.data.catalogue.findings import shorten
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.catalogue.tables import BATCH_ROWS, Part, TableRequest
from lookalike.data.catalogue.text_types import DeclaredTypes, TextTypes
from lookalike.data.errors import CatalogueError

LONGEST_ITEM = 16 * 2**20  # characters of one object of an array
_CHUNK = 2**20
_EXACT_FLOAT = 2**53
# the names are those under which shop programs write their products
_ARRAY = re.compile(r'\s*(?:\{\s*"(?:products|items|data|results|rows|offers|articles)"\s*:\s*)?\[\s*\{')
_GAP = re.compile(r"[\s,]*")

_Row: TypeAlias = dict[str, Any]


def read_json(files: Sequence[Path], request: TableRequest) -> Iterator[Part]:
    """Yield the products of JSONL files that are parts of one catalogue. Raises `CatalogueError`."""
    texts = [read_as_utf8(file, request) for file in files]
    kinds: dict[str, pa.DataType] = {}
    types = TextTypes(by_programs=True)  # JSON writes all other types as what they are
    declared = DeclaredTypes(request.columns.types_by_source())
    for rows in _batches(texts, request, []):
        for column in dict.fromkeys(key for row in rows for key in row):
            _check_name(column, request.name)
            kind = pa.string() if column in declared else _json_type(column, rows, request)
            known = kinds.get(column, kind)
            if column in declared:
                declared.count(column, _json_column(column, rows, kind))
            _narrow(types, column, rows, known, kind, request)
            kinds[column] = _common(known, kind)
    if not kinds:
        raise CatalogueError(f"the catalogue {request.name} has no rows")
    layout = find_layout(list(kinds), request.columns, request.name, request.findings)
    request.use(layout)
    rejects = [reject for text in texts for reject in text.rejects]
    for rows in _batches(texts, request, rejects):
        columns = {
            column: _typed(_json_column(column, rows, kind, own=request.columns.may_be_own(column)), types, column)
            for column, kind in kinds.items()
        }
        table = leave_out_nested(declared.apply(pa.table(columns)), request.findings)
        yield Part(_select(layout, table, list(kinds)), rejects[:])
        rejects.clear()
    yield Part(None, rejects)
    for name in layout.attributes:
        source = list(kinds)[next(place for place, our in layout.names.items() if our == name)]
        if source in declared:
            request.findings.attributes[name] = declared.describe(source)
        elif pa.types.is_string(_item(kinds[source])):
            request.findings.attributes[name] = types.describe(source)


def _select(layout: Layout, table: pa.Table, names: list[str]) -> pa.Table:
    kept = {our: table[names[place]] for place, our in layout.names.items() if names[place] in table.column_names}
    return pa.table(kept)


def _batches(texts: Sequence[TextFile], request: TableRequest, rejects: list[Reject]) -> Iterator[list[_Row]]:
    rows = itertools.chain.from_iterable(_objects(text, request.name, rejects) for text in texts)
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        yield batch


def _check_name(column: str, name: str) -> None:
    try:
        column.encode()
    except UnicodeEncodeError as error:
        raise CatalogueError(
            f"{name}: the name of the column {column!r} holds half a character: write it whole"
        ) from error


def _narrow(
    types: TextTypes, column: str, rows: list[_Row], known: pa.DataType, found: pa.DataType, request: TableRequest
) -> None:
    if pa.types.is_null(_item(found)):
        return
    same = known == found or pa.types.is_null(_item(known))
    own = request.columns.may_be_own(column) or column in request.columns.types_by_source()
    if own or not same or not pa.types.is_string(_item(found)):
        types.keep_text(column)
        return
    values = _json_column(column, rows, found)
    types.narrow(column, values.flatten() if pa.types.is_list(found) else values)


def _item(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) else kind


def _typed(column: pa.Array, types: TextTypes, name: str) -> pa.Array:
    reading = types.found(name)
    if reading is None:
        return column
    if not pa.types.is_list(column.type):
        return reading.convert(column)
    return pa.ListArray.from_arrays(column.offsets, reading.convert(column.values), mask=column.is_null())


def _objects(text: TextFile, name: str, rejects: list[Reject]) -> Iterator[_Row]:
    if _is_array(text.path):
        yield from _items(text.path, name)
        return
    good = False
    first: Reject | None = None
    with text.path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            row = _parse_line(line)
            if isinstance(row, dict):
                good = True
                yield row
                continue
            reject = bad_line(text.original_line(number), row)
            first = first or reject
            rejects.append(reject)
    if first and not good:
        raise CatalogueError(f"{name}, {first.message}")


def _parse_line(line: bytes) -> _Row | str:
    """Return the object of a line, or what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}: {shorten(line[:100].decode(errors='replace'))}"
    return row if isinstance(row, dict) else "each line must be a JSON object, like {…}"


def _is_array(file: Path) -> bool:
    """Tell whether a file is one array of objects, maybe under a name, and not one object a line."""
    with file.open(encoding="utf-8-sig", errors="replace") as opened:
        return _ARRAY.match(opened.read(4096)) is not None


def _items(file: Path, name: str) -> Iterator[_Row]:
    """Yield the objects of an array, of which only one is in memory. Raises `CatalogueError`."""
    decoder, count = json.JSONDecoder(), 0
    with file.open(encoding="utf-8-sig") as opened:
        text = opened.read(_CHUNK)
        text = text[text.index("[") + 1 :]
        while True:
            text = text[_GAP.match(text).end() :]  # type: ignore[union-attr]  # matches anything
            if text.startswith("]"):
                return
            try:
                item, end = decoder.raw_decode(text)
            except (ValueError, RecursionError) as error:
                more = opened.read(max(_CHUNK, len(text)))
                if not more or len(text) > LONGEST_ITEM:
                    raise CatalogueError(f"{name}: item {count + 1:,} of the array is not JSON: {error}") from error
                text += more
                continue
            if not isinstance(item, dict):
                raise CatalogueError(f"{name}: item {count + 1:,} of the array is no object, like {{…}}")
            count += 1
            yield item
            text = text[end:]


def _json_type(column: str, rows: list[_Row], request: TableRequest) -> pa.DataType:
    if request.columns.may_be_own(column):  # ids are often written as numbers; what was written is what is kept
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


def _json_column(column: str, rows: list[_Row], kind: pa.DataType, *, own: bool = False) -> pa.Array:
    values: Iterable[Any] = [row.get(column) for row in rows]
    if pa.types.is_string(kind):
        values = [_as_text(_whole(value) if own else value) for value in values]
    elif pa.types.is_floating(kind):  # Arrow takes no whole number for one that a float cannot hold exactly
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError as error:
        raise CatalogueError(f"the column {column!r} holds half a character: {error}") from error


def _whole(value: Any) -> Any:
    """Return the whole number that pandas has made a float of."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT else value


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
