"""Candidates: the kinds of index that the planner chooses from, each as a FAISS factory string for a catalogue."""

from __future__ import annotations

import math
from typing import Literal, get_args

Kind = Literal["Flat", "IVF SQ8", "IVF SQ8 short", "IVF PQ", "IVF RaBitQ", "HNSW SQ8"]
KINDS: tuple[Kind, ...] = get_args(Kind)
QUICK: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "HNSW SQ8")
"""The kinds that are built within a minute or two for a million vectors and core."""

ROWS_PER_LIST = 128
SHORT_LIST = 32  # rows: where products come in small groups that look alike, far fewer rows need be looked at
MOST_LISTS = 65_536
GRAPH_OF_CENTROIDS_FROM = 2048  # lists: comparing a query with as many centroids takes longer than visiting lists
DIMENSIONS_PER_CODE = 4  # a product quantiser of 4 bits for each 4 dimensions: one bit a dimension, as RaBitQ has
LINKS = 32


def lists_of(kind: Kind, products: int) -> int:
    """Return how many inverted lists an index of some kind has over so many products; 0 for a kind without."""
    if not kind.startswith("IVF"):
        return 0
    rows = SHORT_LIST if kind == "IVF SQ8 short" else ROWS_PER_LIST
    return min(MOST_LISTS, int(2 ** round(math.log2(max(1.0, products / rows)))))


def index_key(kind: Kind, products: int, dimension: int) -> str:
    """Return the FAISS factory string of a kind of index over so many vectors of a dimension."""
    if kind == "Flat":
        return "Flat"
    if kind == "HNSW SQ8":
        return f"HNSW{LINKS},SQ8"
    lists = lists_of(kind, products)
    coarse = f"IVF{lists}_HNSW{LINKS}" if lists >= GRAPH_OF_CENTROIDS_FROM else f"IVF{lists}"
    codes = {
        "IVF SQ8": "SQ8",
        "IVF SQ8 short": "SQ8",
        "IVF PQ": f"PQ{_subquantisers(dimension)}x4fs,Refine(SQ8)",
        "IVF RaBitQ": "RaBitQfs,Refine(SQ8)",
    }
    return f"{coarse},{codes[kind]}"


def _subquantisers(dimension: int) -> int:
    """Return the largest number of parts that divides a vector evenly into parts of DIMENSIONS_PER_CODE or more."""
    return next(parts for parts in range(max(1, dimension // DIMENSIONS_PER_CODE), 0, -1) if dimension % parts == 0)
