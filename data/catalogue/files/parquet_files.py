"""Parquet files, alone or as the parts of one catalogue, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lookalike.data.catalogue.columns import OWN_COLUMNS, Layout, find_layout, leave_out_nested
from lookalike.data.catalogue.tables import BATCH_ROWS, Part, TableRequest
from lookalike.data.catalogue.text_types import DeclaredTypes, TextTypes
from lookalike.data.catalogue.types import is_text
from lookalike.data.errors import CatalogueError


def read_parquet(files: Sequence[Path], request: TableRequest) -> Iterator[Part]:
    """Yield the products of Parquet files that are parts of one catalogue. Raises `CatalogueError`."""
    schema = _find_schema(files, request)
    layout = find_layout(schema.names, request.columns, request.name, request.findings)
    request.use(layout)
    types, declared = _find_types(files, schema, layout, request)
    for file in files:
        for table in _tables(file, schema):
            ours = leave_out_nested(layout.select(table), request.findings)
            yield Part(types.apply(declared.apply(ours)), [])
    for name in layout.attributes:
        if name in declared:
            request.findings.attributes[name] = declared.describe(name)
        elif types.has_seen(name):
            request.findings.attributes[name] = types.describe(name)


def _find_schema(files: Sequence[Path], request: TableRequest) -> pa.Schema:
    """Return the columns of all parts together."""
    schemas = [pq.read_schema(file).remove_metadata() for file in files]
    if all(schema.equals(schemas[0]) for schema in schemas[1:]):
        return schemas[0]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CatalogueError(f"the parts of {request.name} have columns of different types: {error}") from error


def _find_types(
    files: Sequence[Path], schema: pa.Schema, layout: Layout, request: TableRequest
) -> tuple[TextTypes, DeclaredTypes]:
    """Look at the columns of text, as long as they may be something else."""
    types = TextTypes(by_programs=True)
    texts = [
        place
        for place, name in layout.names.items()
        if name not in OWN_COLUMNS and name != layout.parent and is_text(schema.field(place).type)
    ]
    ours = {schema.field(place).name: layout.names[place] for place in texts}
    declared = DeclaredTypes({name: kind for name, kind in request.columns.types.items() if name in ours.values()})
    wrong = request.columns.types.keys() - set(ours.values())
    if wrong:
        request.findings.note("columns that are not text keep their type, whatever is declared", len(wrong), min(wrong))
    open_ = set(ours)
    for file in files:
        with pq.ParquetFile(file) as opened:
            columns = [name for name in opened.schema_arrow.names if name in open_]
            for batch in opened.iter_batches(BATCH_ROWS, columns=columns) if columns else ():
                for name in open_ & set(batch.schema.names):
                    _look(batch.column(name), ours[name], types, declared)
                open_ = {name for name in open_ if ours[name] in declared or types.is_open(ours[name])}
                if not open_:
                    return types, declared
    return types, declared


def _look(column: pa.Array, name: str, types: TextTypes, declared: DeclaredTypes) -> None:
    text = column.cast(pa.string())
    if name in declared:
        declared.count(name, text)
        types.keep_text(name)
    else:
        types.narrow(name, text)


def _tables(file: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield a part's rows with the columns of all parts."""
    with pq.ParquetFile(file) as opened:
        same = opened.schema_arrow.remove_metadata().equals(schema)
        for batch in opened.iter_batches(BATCH_ROWS):
            table = pa.Table.from_batches([batch])
            yield table if same else _with_columns(table, schema)


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    have = set(table.column_names)
    columns = [
        table[field.name].cast(field.type) if field.name in have else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
