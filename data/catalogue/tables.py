"""Tables: what those that read CSV, JSONL and Parquet are asked, and what they yield."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lookalike.data.catalogue.columns import Columns, Layout
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.catalogue.variants import ScatteredVariants, VariantJoiner
from lookalike.data.partitioned import slices

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
        charset: how its text was saved, as the server says from which it comes.
        layout: which column is which, once the reader knows.
    """

    name: str
    columns: Columns
    encoding: str | None
    findings: Findings
    folder: Path
    charset: str | None = None
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
    scattered: ScatteredVariants | None = None
    for part in parts:
        if request.layout is None or request.layout.preset is None or part.table is None:
            yield part
            continue
        joiner = joiner or VariantJoiner(request.layout, request.findings)
        joined = joiner.add(part.table)
        if request.layout.parent is None:
            yield Part(joined, part.rejects)
            continue
        scattered = scattered or ScatteredVariants(joiner, request.folder / "variants")
        scattered.add(joined)
        yield Part(None, part.rejects)
    if joiner is None:
        return
    for table in joiner.end():
        if scattered is None:
            yield Part(table, [])
        else:
            scattered.add(table)
    if scattered is not None:
        for table in scattered.tables():
            yield from (Part(one, []) for one in slices(table, BATCH_ROWS))
