"""Colours: how much of a picture's foreground has each basic colour, as a snapshot holds it.

The basic colours are the eleven that languages name first: Berlin and Kay, "Basic color terms", 1969.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.embeddings import Embeddings
from lookalike.data.errors import CorruptError
from lookalike.data.stores import ObjectStore

COLOURS = ("black", "white", "red", "green", "yellow", "blue", "brown", "purple", "pink", "orange", "grey")
"""The columns of all shares, in this order."""
VERSION = 1
"""Of how shares are measured (`lookalike.tasks.images.colours`): others are not compared with them."""
FOLDER = "colours"
WHOLE = 255
"""The share of a picture that has one colour only. A picture whose colours are not known has 0 of each."""
MAIN = 0.2
"""A colour with this share is one of the main ones."""
MOST_MAIN = 3

Shares = NDArray[np.uint8]


def open_colours(store: ObjectStore) -> Embeddings:
    """Return the shares that a store has, by the hash of their picture: whole numbers, as vectors."""
    return Embeddings(store, str(VERSION), FOLDER)


def shares_to_bytes(shares: Shares) -> bytes:
    """Return the (rows, colours) shares of a shard as a `.npy`, those of a colour together."""
    buffer = io.BytesIO()
    np.save(buffer, np.asfortranarray(shares, np.uint8), allow_pickle=False)
    return buffer.getvalue()


def check_shares(shares: NDArray[Any], rows: int) -> Shares:
    """Return what was read or mapped as the shares of a shard of so many rows. Raises `CorruptError`."""
    if shares.dtype != np.uint8 or shares.shape != (rows, len(COLOURS)):
        raise CorruptError(
            f"colours are {shares.dtype}{shares.shape}, the manifest promises uint8 of {rows} rows and {len(COLOURS)}"
        )
    return shares


def list_main_colours(shares: Shares) -> pa.ListArray:
    """Return the names of each row's main colours, the largest first; null for a row whose colours are not known.

    These are the colours with a share of `MAIN` or more, at most `MOST_MAIN`; the largest one is always there.
    """
    order = np.argsort(-shares.astype(np.int16), axis=1, kind="stable")[:, :MOST_MAIN]
    found = np.take_along_axis(shares, order, axis=1)
    is_main = found >= MAIN * WHOLE
    is_main[:, 0] = found[:, 0] > 0
    lengths = is_main.sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    names = pa.DictionaryArray.from_arrays(pa.array(order[is_main].astype(np.int8)), pa.array(COLOURS))
    mask = pa.array(lengths == 0) if (lengths == 0).any() else None
    return pa.ListArray.from_arrays(pa.array(starts), names.cast(pa.string()), mask=mask)
