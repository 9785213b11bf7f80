"""Variants: rows of one product become one product. Exports of shop programs write a row for each size and picture.

Most of them follow their product. Others are far from it, such as a size that came to the shop later.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from lookalike.data.catalogue.columns import Layout
from lookalike.data.catalogue.findings import Findings
from lookalike.data.partitioned import PartitionedTable, id_buckets

KEPT_ROWS = 8192
"""So many rows are kept in memory; more of them go through local disk."""

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

    def name_products(self, table: pa.Table) -> list[tuple[str | None, bool]]:
        """Return for each row, joined with those that follow it, what names its product, and if it is a variant."""
        columns = {name for name in ("id", self._layout.parent, self._layout.sku) if name}
        return [self._name_product(row) for row in table.select(sorted(columns)).to_pylist()]

    def gather(self, table: pa.Table) -> pa.Table:
        """Return the same rows, those of one product joined wherever they stand. One without its product stays."""
        keys = self.name_products(table)
        if len({key for key, _ in keys}) == len(keys):
            return table
        rows = table.to_pylist()
        products: dict[str, _Row] = {}
        for row, (key, is_variant) in zip(rows, keys, strict=True):
            if key is not None and not is_variant:
                products.setdefault(key, row)
        left: list[_Row] = []
        for row, (key, is_variant) in zip(rows, keys, strict=True):
            product = products.get(key) if key is not None else None
            if product is None or product is row or not (is_variant or self._layout.parent == "id"):
                left.append(row)
            else:
                self._merge_prepared(row, product)
        return pa.Table.from_pylist(left, table.schema)

    def _name_product(self, row: _Row) -> tuple[str | None, bool]:
        if self._layout.parent == "id":
            return row["id"], False
        named = row[self._layout.parent] if self._layout.parent else None
        if named:
            return str(named), True
        sku = self._sku_of(row)
        return str(sku) if sku is not None else f"id:{row['id']}", False

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
        return str(named).removeprefix("id:") == product["id"] or bool(named == self._sku_of(product))

    def _sku_of(self, product: _Row) -> Any:
        skus = product[self._layout.sku] if self._layout.sku else []
        return skus[0] if skus else None

    def _merge(self, row: _Row, product: _Row) -> None:
        self._merge_prepared({name: self._prepare(name, value) for name, value in row.items()}, product)

    def _merge_prepared(self, row: _Row, product: _Row) -> None:
        for name, values in row.items():
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


class ScatteredVariants:
    """Brings rows of one product together that do not follow one another, in the memory that a part of them takes."""

    def __init__(self, joiner: VariantJoiner, folder: Path) -> None:
        self._joiner = joiner
        self._folder = folder
        self._kept: list[pa.Table] = []
        self._spilled: PartitionedTable | None = None

    def add(self, table: pa.Table) -> None:
        """Take rows that the joiner has returned."""
        self._kept.append(table)
        if self._spilled is not None or sum(one.num_rows for one in self._kept) > KEPT_ROWS:
            self._spill()

    def tables(self) -> Iterator[pa.Table]:
        """Yield the products: in the order of their rows where they are few."""
        few = [pa.concat_tables(self._kept)] if self._kept else []
        yield from map(self._joiner.gather, few if self._spilled is None else self._spilled.tables())

    def _spill(self) -> None:
        self._spilled = self._spilled or PartitionedTable(self._folder)
        for table in self._kept:
            self._spilled.add(table, id_buckets([key or "" for key, _ in self._joiner.name_products(table)]))
        self._kept.clear()
