"""A catalogue as one table, for tests: the product reads it a batch at a time."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from lookalike.data.catalogue.columns import parse_columns
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.reader import Batch, ReadOptions, read_catalogue


def read_all(
    uri: str, *, columns: str | None = None, encoding: str | None = None, findings: Findings | None = None
) -> Batch:
    """Return all of a catalogue at once."""
    options = ReadOptions(columns=parse_columns(columns), encoding=encoding)
    batches = list(read_catalogue(uri, options=options, findings=findings))
    rejects = [reject for batch in batches for reject in batch.rejects]
    return Batch(
        pa.concat_tables([batch.products for batch in batches], promote_options="default"),
        rejects,
        [reject for batch in batches for reject in batch.lost],
    )


def attributes_of(batch: Batch) -> list[dict[str, Any]]:
    """Return the attributes of each product."""
    found: list[dict[str, Any]] = batch.products["attributes"].to_pylist()
    return found
