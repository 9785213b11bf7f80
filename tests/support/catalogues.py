"""A catalogue as one table, for tests: the product reads it a batch at a time."""

from __future__ import annotations

import pyarrow as pa

from lookalike.data.catalogue.reader import Batch, read_catalogue


def read_all(uri: str) -> Batch:
    """Return all of a catalogue at once."""
    batches = list(read_catalogue(uri))
    rejects = [reject for batch in batches for reject in batch.rejects]
    return Batch(pa.concat_tables([batch.products for batch in batches]), rejects)
