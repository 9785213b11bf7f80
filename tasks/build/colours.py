"""Build the colours of a shard: what a store knows of its products' pictures, in the order of its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lookalike.data.embeddings import hash_array, positions
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.colours import COLOURS, open_colours, shares_to_bytes
from lookalike.data.stores import ObjectStore


def store_colours(store: ObjectStore, products: pa.Table) -> Blob:
    """Store the shares of a shard's products. A picture whose colours are not known has 0 of each."""
    wanted = hash_array(products["image_hash"])
    shares = np.zeros((len(wanted), len(COLOURS)), np.uint8)
    different = np.unique(wanted)
    first, last = positions(different[[0, -1]]).tolist()
    known, found = open_colours(store).read(first, last + 1, different)
    if len(known):
        places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        there = known[places] == wanted
        shares[there] = found[places[there]].astype(np.uint8)
    return blobs.put_bytes(store, shares_to_bytes(shares))
