"""Checks: what only the snapshot that answers can tell about a query."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lookalike.serving.errors import ProblemError
from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.search.options import QueryOptions
from lookalike.serving.search.query import Vectors


def check_vector(vector: Vectors, wanted: int) -> None:
    """Raise `ProblemError` for a vector that the encoder cannot have made."""
    if len(vector) != wanted:
        detail = f"The vector has {len(vector)} numbers; the encoder of this snapshot makes {wanted}."
        raise ProblemError("vector_length", detail)
    if not np.isfinite(vector).all():
        raise ProblemError("vector_not_finite", "The vector holds NaN or Infinity: send finite numbers only.")
    if not vector.any():
        raise ProblemError("vector_zero", "The vector is all zeros: nothing is near it; send one with a direction.")


def check_attributes(loaded: LoadedSnapshot, options: QueryOptions) -> None:
    """Raise `ProblemError` for an attribute that no product has, or that hits cannot be grouped by."""
    types = loaded.searcher.products.attributes
    sent = options.hit_fields.attributes if options.hit_fields else None
    grouped = [] if options.group_by is None else [options.group_by]
    filtered = [condition.name for condition in options.conditions]
    for name in (*filtered, *options.facets, *sorted(sent or ()), *grouped):
        if name not in types:
            known = ", ".join(sorted(types)) or "none"
            detail = f"There is no attribute {name[:100]!r}; the attributes are: {known}."
            raise ProblemError("unknown_attribute", detail)
    for name in grouped:
        if pa.types.is_nested(types[name]):
            raise ProblemError("bad_group_by", f"{name!r} is a list: group by an attribute that has one value.")
