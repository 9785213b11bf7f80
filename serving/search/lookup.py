"""Look-ups: the products that a person means by words of a title, or by a number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.snapshots.products import Products
from lookalike.serving.errors import ProblemError

MAX_LETTERS = 200


def check_lookup(find: str | None) -> str | None:
    """Return what to look up, None for nothing. Raises `ProblemError` for too long a text."""
    if find is not None and len(find) > MAX_LETTERS:
        raise ProblemError("bad_field", f"`find` has {len(find)} letters: send {MAX_LETTERS} at most.")
    return find.strip() or None if find else None


def match_lookup(products: Products, find: str) -> NDArray[np.bool_]:
    """Return a mask (rows,) of the products whose title has each of the words, or whose id begins with the text.

    Upper and lower case are the same.
    """
    titles, ids = products.text("title"), products.text("id")
    mask = _to_mask(pc.starts_with(ids, find, ignore_case=True))
    named = np.ones(products.rows, bool)
    for word in find.split():
        named &= _to_mask(pc.match_substring(titles, word, ignore_case=True))
    return mask | named


def rank_lookup(products: Products, rows: NDArray[np.int64], find: str) -> NDArray[np.int64]:
    """Return the (n,) rows with those first whose id or title is the text, then those whose title begins with it."""
    ids, wanted = products.texts("id", rows), find.lower()
    titles = pc.utf8_lower(products.texts("title", rows))
    is_whole = pc.or_(pc.equal(ids, find), pc.equal(titles, wanted))
    places = np.where(_to_mask(is_whole), 0, np.where(_to_mask(pc.starts_with(titles, wanted)), 1, 2))
    return rows[np.argsort(places, kind="stable")]


def _to_mask(found: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(found, fill_value=False), bool)
