"""Views: the index of the further pictures of a shard's products, beside that of their first ones.

It is of the same kind, with the same trained parts. So both are searched as one, with the same effort.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.manifest import ShardSection, ViewsSection
from lookalike.data.snapshots.products import VIEWS
from lookalike.data.stores import ObjectStore
from lookalike.tasks.build.shard import read_vector_batches
from lookalike.tasks.search.neighbours import Neighbours, merge
from lookalike.tasks.search.views import FIRST, Views, list_index_parts, views_to_bytes

MakeIndex = Callable[[Iterable[NDArray[np.float16]], int], faiss.Index]
"""Returns the index over so many vectors of the encoder, which come in batches."""


def list_views(products: pa.Table) -> pa.Table:
    """Return the further pictures of products, in the order of their hashes.

    The columns are `row` (of the product), `number` (2 and more) and `image_hash`.
    """
    rows: list[int] = []
    numbers: list[int] = []
    hashes: list[bytes] = []
    for row, views in enumerate(products[VIEWS].to_pylist() if VIEWS in products.column_names else ()):
        for number, view in enumerate(views or (), FIRST + 1):
            rows.append(row)
            numbers.append(number)
            hashes.append(view["image_hash"])
    table = pa.table(
        {
            "row": pa.array(rows, pa.uint32()),
            "number": pa.array(numbers, pa.uint32()),
            "image_hash": pa.array(hashes, HASH),
        }
    )
    return table.sort_by([("image_hash", "ascending"), ("row", "ascending")]).combine_chunks()


def store_views(
    store: ObjectStore, views: pa.Table, embeddings: Embeddings, make_index: MakeIndex
) -> ViewsSection | None:
    """Build and store the index of the further pictures that `list_views` gives; None where there are none.

    Raises `CorruptError` where the store lost a vector.
    """
    if not views.num_rows:
        return None
    index = make_index(read_vector_batches(views, embeddings, 0, 2**32), views.num_rows)
    rows = np.stack([views["row"].to_numpy(), views["number"].to_numpy()], axis=1)
    with tempfile.TemporaryDirectory(prefix="lookalike-views-") as folder:
        file = Path(folder) / "views.faiss"
        faiss.write_index(index, str(file))
        return ViewsSection(
            index=blobs.put_file(store, file), rows=blobs.put_bytes(store, views_to_bytes(rows)), count=views.num_rows
        )


def merge_views(first: Neighbours, further: Neighbours, owners: NDArray[np.int64]) -> Neighbours:
    """Return the best products of each query, each by its best picture: as many as `first` has.

    Args:
        first: by first pictures: rows are products.
        further: by further pictures: rows are those of their index, and `owners` (n,) are the products.
    """
    if not further.rows.shape[1]:
        return first
    rows = np.concatenate([first.rows, np.where(further.rows < 0, -1, owners[further.rows])], axis=1)
    every = Neighbours(np.concatenate([first.scores, further.scores], axis=1), rows)
    ordered = merge([every], rows.shape[1])
    seen_before = np.zeros(rows.shape, bool)
    for query, some in enumerate(ordered.rows):
        _, places = np.unique(some, return_index=True)
        seen_before[query] = ~np.isin(np.arange(len(some)), places)
    ordered.rows[seen_before] = -1
    return merge([ordered], first.rows.shape[1])


def fetch_index_parts(
    store: ObjectStore, cache: BlobCache, shards: Sequence[ShardSection]
) -> tuple[list[Path], list[int], Views | None]:
    """Return what `ShardedIndex.open` takes: the index files of shards, the numbers of their rows, and the views."""
    parts = list_index_parts(shards)
    rows = {shard.views.rows: cache.get(store, shard.views.rows) for shard in shards if shard.views}
    files = [cache.get(store, blob) for blob, _ in parts]
    return files, [count for _, count in parts], Views.open(shards, rows)
