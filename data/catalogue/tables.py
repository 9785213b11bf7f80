"""Tables: what those that read CSV, JSONL and Parquet are asked, and what they yield."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lookalike.data.catalogue.columns import Columns, Layout
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.catalogue.variants import VariantJoiner

BATCH_ROWS = 8192


@dataclass
class TableRequest:
    """One table, to be read.

    Attributes:
        name: what errors call it.
        columns: what people say of its columns.
        encoding: how its text was saved, if people have said it.
        findings: takes what people should know.
        folder: for copies, on local disk.
        layout: which column is which, once the reader knows.
    """

    name: str
    columns: Columns
    encoding: str | None
    findings: Findings
    folder: Path
    layout: Layout | None = field(default=None)

    def use(self, layout: Layout) -> None:
        """Take which column is which."""
        self.layout = layout


@dataclass(frozen=True)
class Part:
    """Some rows of a table, with our names of its columns, and lines that are no rows."""

    table: pa.Table | None
    rejects: list[Reject]


def join_variants(parts: Iterator[Part], request: TableRequest) -> Iterator[Part]:
    """Yield the same parts, the rows of one product joined where the catalogue has several for one."""
    joiner: VariantJoiner | None = None
    for part in parts:
        if request.layout is None or request.layout.preset is None or part.table is None:
            yield part
            continue
        joiner = joiner or VariantJoiner(request.layout, request.findings)
        yield Part(joiner.add(part.table), part.rejects)
    if joiner is not None:
        yield from (Part(table, []) for table in joiner.end())
