"""Candidates: the kinds of index that the planner chooses from, each as a FAISS factory string for a catalogue."""

from __future__ import annotations

import math
from typing import Literal, get_args

Kind = Literal["Flat", "IVF SQ8", "IVF SQ8 short", "IVF PQ", "IVF RaBitQ", "HNSW SQ8"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ROWS_PER_LIST = 128
SHORT_LIST = 32  # rows: where products come in small groups that look alike, far fewer rows need be looked at
MOST_LISTS = 65_536
SAMPLES_PER_LIST = 16  # to learn a centroid from: with 8, up to half as many lists more have to be visited
SHORT_CODES_FROM = 16 * 39  # vectors: a code has 16 centroids in each part, and FAISS asks for 39 vectors for each
GRAPH_OF_CENTROIDS_FROM = 2048  # lists: comparing a query with as many centroids takes longer than visiting lists
DIMENSIONS_PER_CODE = 4  # a product quantiser of 4 bits for each 4 dimensions: one bit a dimension, as RaBitQ has
LINKS = 32
LIST_BYTES = 4
PLACE_BYTES = 8


def lists_of(kind: Kind, products: int, pictures: int) -> int:
    """Return how many inverted lists an index of some kind has over so many products; 0 for a kind without.

    They are no more than can be learnt from so many different pictures.
    """
    if not kind.startswith("IVF"):
        return 0
    rows = SHORT_LIST if kind == "IVF SQ8 short" else ROWS_PER_LIST
    wanted = round(math.log2(max(1.0, products / rows)))
    learnable = int(math.log2(max(1, pictures // SAMPLES_PER_LIST)))
    return min(MOST_LISTS, int(2 ** min(wanted, learnable)))


def index_key(kind: Kind, products: int, pictures: int, dimension: int) -> str:
    """Return the FAISS factory string of a kind of index over products that show so many different pictures."""
    if kind == "Flat":
        return "Flat"
    if kind == "HNSW SQ8":
        return f"HNSW{LINKS},SQ8"
    lists = lists_of(kind, products, pictures)
    coarse = f"IVF{lists}_HNSW{LINKS}" if lists >= GRAPH_OF_CENTROIDS_FROM else f"IVF{lists}"
    codes = {
        "IVF SQ8": "SQ8",
        "IVF SQ8 short": "SQ8",
        "IVF PQ": f"PQ{_subquantisers(dimension)}x4fs,Refine(SQ8)",
        "IVF RaBitQ": "RaBitQfs,Refine(SQ8)",
    }
    return f"{coarse},{codes[kind]}"


def bytes_beside(key: str) -> int:
    """Return how many bytes each row takes in memory that it does not take in the file of an index.

    Filters need to know the list that a row is in, and `vector` where it lies there, unless codes are kept by row, too.
    """
    if not key.startswith("IVF"):
        return 0
    return LIST_BYTES if "Refine" in key else LIST_BYTES + PLACE_BYTES


def _subquantisers(dimension: int) -> int:
    """Return the largest number of parts that divides a vector evenly into parts of DIMENSIONS_PER_CODE or more."""
    return next(parts for parts in range(max(1, dimension // DIMENSIONS_PER_CODE), 0, -1) if dimension % parts == 0)
