"""Candidates: the kinds of index that the planner chooses from, each as a FAISS factory string for a catalogue."""

from __future__ import annotations

import math
from typing import Literal, get_args

Kind = Literal["Flat", "IVF SQ8", "IVF PQ", "IVF RaBitQ", "HNSW SQ8"]
KINDS: tuple[Kind, ...] = get_args(Kind)
QUICK: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "HNSW SQ8")
"""The kinds that are built within a minute or two for a million vectors and core."""

GRAPH_OF_CENTROIDS_FROM = 2048  # lists: comparing a query with as many centroids takes longer than visiting lists
DIMENSIONS_PER_CODE = 4  # a product quantiser of 4 bits for each 4 dimensions: one bit a dimension, as RaBitQ has
LINKS = 32


def lists_of(products: int) -> int:
    """Return how many inverted lists suit so many products: about four times their square root."""
    return int(2 ** round(math.log2(4 * math.sqrt(products))))


def index_key(kind: Kind, products: int, dimension: int) -> str:
    """Return the FAISS factory string of a kind of index over so many vectors of a dimension."""
    if kind == "Flat":
        return "Flat"
    if kind == "HNSW SQ8":
        return f"HNSW{LINKS},SQ8"
    lists = lists_of(products)
    coarse = f"IVF{lists}_HNSW{LINKS}" if lists >= GRAPH_OF_CENTROIDS_FROM else f"IVF{lists}"
    codes = {
        "IVF SQ8": "SQ8",
        "IVF PQ": f"PQ{_subquantisers(dimension)}x4fs,Refine(SQ8)",
        "IVF RaBitQ": "RaBitQfs,Refine(SQ8)",
    }
    return f"{coarse},{codes[kind]}"


def _subquantisers(dimension: int) -> int:
    """Return the largest number of parts that divides a vector evenly into parts of DIMENSIONS_PER_CODE or more."""
    return next(parts for parts in range(max(1, dimension // DIMENSIONS_PER_CODE), 0, -1) if dimension % parts == 0)
