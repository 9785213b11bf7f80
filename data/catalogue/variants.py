"""Variants: rows of one product become one product. Exports of shop programs write a row for each size and picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from lookalike.data.catalogue.columns import Layout
from lookalike.data.catalogue.findings import Findings

_Row = dict[str, Any]


class VariantJoiner:
    """Joins rows that follow one another: the first value of each column counts; those of variants become lists."""

    def __init__(self, layout: Layout, findings: Findings) -> None:
        self._layout = layout
        self._findings = findings
        self._open: _Row | None = None
        self._schema: pa.Schema | None = None

    def add(self, table: pa.Table) -> pa.Table:
        """Return the products that are complete now that these rows are known."""
        if self._schema is None:
            self._schema = self._schema_of(table.schema)
        return pa.Table.from_pylist(list(self._join(table.to_pylist())), self._schema)

    def end(self) -> Iterator[pa.Table]:
        """Yield the last product."""
        if self._open is not None and self._schema is not None:
            yield pa.Table.from_pylist([self._open], self._schema)

    def _join(self, rows: list[_Row]) -> Iterator[_Row]:
        for row in rows:
            if self._open is not None:
                if self._is_variant(row, self._open):
                    self._merge(row, self._open)
                    continue
                yield self._open
            self._open = {name: self._prepare(name, value) for name, value in row.items()}

    def _is_variant(self, row: _Row, product: _Row) -> bool:
        parent = self._layout.parent
        if parent == "id":
            return row["id"] is not None and row["id"] == product["id"]
        named = row.get(parent) if parent else None
        if not named:
            return False
        skus = [value for name in self._layout.lists if name.lower() == "sku" for value in product[name]]
        return str(named).removeprefix("id:") == product["id"] or named in skus[:1]

    def _merge(self, row: _Row, product: _Row) -> None:
        for name, value in row.items():
            values = self._prepare(name, value)
            if isinstance(values, list):
                product[name] += [one for one in values if one not in product[name]]
            elif product[name] is None and name != self._layout.parent:
                product[name] = values
        self._findings.note("rows of variants and further pictures, joined with the row of their product", 1)

    def _prepare(self, name: str, value: Any) -> Any:
        if name in self._layout.several:
            parts = value if isinstance(value, list) else str(value or "").split(",")
            return [str(part).strip() for part in parts if str(part).strip()]
        if name in self._layout.lists:
            return [] if value is None else [value]
        return value

    def _schema_of(self, schema: pa.Schema) -> pa.Schema:
        layout = self._layout
        fields = []
        for one in schema:
            if one.name in layout.several:
                fields.append(pa.field(one.name, pa.list_(pa.string())))
            elif one.name in layout.lists:
                fields.append(pa.field(one.name, pa.list_(one.type)))
            else:
                fields.append(one)
        return pa.schema(fields)
