"""Views: the index of the further pictures of a shard's products, beside that of their first ones.

It is of the same kind, with the same trained parts. So both are searched as one, with the same effort.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import ViewsSection
from lookalike.data.snapshots.products import VIEWS
from lookalike.data.stores import ObjectStore
from lookalike.tasks.build.shard import read_vector_batches
from lookalike.tasks.search.views import FIRST, views_to_bytes

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
        {"row": pa.array(rows, pa.uint32()), "number": pa.array(numbers, pa.uint32()), "image_hash": pa.array(hashes, HASH)}
    )
    return table.sort_by([("image_hash", "ascending"), ("row", "ascending")]).combine_chunks()


def store_views(
    store: ObjectStore, products: pa.Table, embeddings: Embeddings, make_index: MakeIndex
) -> ViewsSection | None:
    """Build and store the index of the further pictures of a shard's products; None where there are none.

    Raises `CorruptError` where the store lost a vector.
    """
    views = list_views(products)
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
