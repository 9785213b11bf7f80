"""Pictures whose colours are not known: which they are, and what one worker does with some of them.

Whoever embeds a picture measures its colours, too. So these are pictures that were embedded by a release that did not,
or while nobody wanted colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from lookalike.data.embeddings import hash_array, positions
from lookalike.data.errors import ImageRejectedError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.partitioned import PartitionedTable, hash_buckets
from lookalike.data.snapshots.colours import COLOURS, Shares, open_colours
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.embed.work import PICTURE, ToEmbed, count_readers, find_pictures_to_embed, read_unchanged
from lookalike.tasks.images.colours import SIDE, measure_colours
from lookalike.tasks.images.decode import decode_with_alpha


def find_pictures_without_colours(
    products: Iterable[pa.Table], store: ObjectStore, new_table: Callable[[str], PartitionedTable]
) -> ToEmbed:
    """Return the pictures of products whose colours are not known."""
    shown = new_table("shown")
    for table in products:
        shown.add(table.select(PICTURE), hash_buckets(positions(hash_array(table["image_hash"]))))
    return find_pictures_to_embed([shown], open_colours(store), new_table)


def measure_pictures(pictures: pa.Table, *, store: str, policy: FetchPolicy) -> int:
    """Measure the colours of the pictures of a table with `image_hash` and `image`, and write them to the store.

    Return how many have theirs now. A picture that is not there any more has none: it does not stop anything. One that
    is there, and cannot be decoded, never can: it gets shares of 0, so that no later run reads it again.
    """
    hashes, references = pictures["image_hash"].to_pylist(), pictures["image"].to_pylist()
    measured: dict[bytes, Shares] = {}
    with ThreadPoolExecutor(count_readers(references)) as pool:  # one picture at a time is decoded, in this thread
        for image_hash, data in zip(hashes, pool.map(partial(_read, policy=policy), references, hashes), strict=True):
            if data is not None:
                measured[image_hash] = _measure(data)
    if measured:
        open_colours(open_store(store)).write(list(measured), np.stack(list(measured.values())).astype(np.float32))
    return len(measured)


def leave_out(pictures: pa.Table) -> int:
    """Return what `measure_pictures` would, of the one picture that kills any worker that reads it."""
    del pictures
    return 0


def _read(reference: str, expected: bytes, *, policy: FetchPolicy) -> bytes | None:
    try:
        return read_unchanged(reference, expected, policy)
    except ImageRejectedError:
        return None


def _measure(data: bytes) -> Shares:
    try:
        return measure_colours(*decode_with_alpha(data, target=SIDE))
    except ImageRejectedError:
        return np.zeros(len(COLOURS), np.uint8)
