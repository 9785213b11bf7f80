"""The kinds of index that the planner chooses from: their FAISS factory strings, and what each reached on a sample."""

from __future__ import annotations

import math
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["Flat", "IVF SQ8", "IVF SQ8 short", "IVF PQ", "IVF RaBitQ", "HNSW SQ8"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ROWS_PER_LIST = 128
SHORT_LIST = 32  # rows: where products come in small groups that look alike, far fewer rows need to be read
MOST_LISTS = 65_536
SAMPLES_PER_LIST = 16  # to learn a centroid from: with 8, up to half as many lists more have to be visited
SHORT_CODES_FROM = 16 * 39  # vectors: a code has 16 centroids in each part, and FAISS asks for 39 vectors for each
GRAPH_OF_CENTROIDS_FROM = 2048  # lists: comparing a query with so many centroids takes longer than visiting lists
DIMENSIONS_PER_CODE = 4  # a product quantiser of 4 bits for each 4 dimensions: one bit a dimension, as RaBitQ has
LINKS = 32
LIST_BYTES = 4
PLACE_BYTES = 8


def count_lists(kind: Kind, products: int, pictures: int) -> int:
    """Return how many inverted lists a kind of index has; 0 for a kind without lists.

    Few different pictures limit the number, as a centroid needs samples to be learnt from.
    """
    if not kind.startswith("IVF"):
        return 0
    rows = SHORT_LIST if kind == "IVF SQ8 short" else ROWS_PER_LIST
    wanted = round(math.log2(max(1.0, products / rows)))
    learnable = int(math.log2(max(1, pictures // SAMPLES_PER_LIST)))
    return min(MOST_LISTS, int(2 ** min(wanted, learnable)))


def make_index_key(kind: Kind, products: int, pictures: int, dimension: int) -> str:
    """Return the FAISS factory string of a kind of index over `products` that show `pictures` different ones."""
    if kind == "Flat":
        return "Flat"
    if kind == "HNSW SQ8":
        return f"HNSW{LINKS},SQ8"
    lists = count_lists(kind, products, pictures)
    coarse = f"IVF{lists}_HNSW{LINKS}" if lists >= GRAPH_OF_CENTROIDS_FROM else f"IVF{lists}"
    codes = {
        "IVF SQ8": "SQ8",
        "IVF SQ8 short": "SQ8",
        "IVF PQ": f"PQ{_count_subquantisers(dimension)}x4fs,Refine(SQ8)",
        "IVF RaBitQ": "RaBitQfs,Refine(SQ8)",
    }
    return f"{coarse},{codes[kind]}"


def count_bytes_beside(key: str) -> int:
    """Return how many bytes a row takes in memory beyond the file of the index.

    Filters need the list of each row. `reconstruct` needs its place in the list, unless codes are kept by row, too.
    """
    if not key.startswith("IVF"):
        return 0
    return LIST_BYTES if "Refine" in key else LIST_BYTES + PLACE_BYTES


def _count_subquantisers(dimension: int) -> int:
    """Return the largest number of parts that divides a vector evenly into parts of DIMENSIONS_PER_CODE or more."""
    return next(parts for parts in range(max(1, dimension // DIMENSIONS_PER_CODE), 0, -1) if dimension % parts == 0)


class OperatingPoint(BaseModel):
    """What a kind of index reached on a sample of a catalogue, tuned to a target recall.

    Attributes:
        kind: the kind of index.
        sample: the number of vectors in the sample.
        recall: recall@10 of queries that are not in the sample.
        query_ms: milliseconds of one query, alone, on one core.
        bytes_per_vector: by how much each vector makes the index grow in the memory of a server.
        parameters: the effort that reached the recall, for people.
        compared: with how many vectors, centroids among them, a query was compared.
        compared_in_all: with how many a query is compared in the whole catalogue; None where the size says it.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    sample: int = Field(ge=1)
    recall: float
    query_ms: float = Field(gt=0)
    bytes_per_vector: float = Field(gt=0)
    parameters: str
    compared: float = Field(gt=0)
    compared_in_all: float | None = None


class OperatingPoints(BaseModel):
    """The operating points of one catalogue, as stored."""

    model_config = ConfigDict(frozen=True)

    points: tuple[OperatingPoint, ...] = Field(min_length=1)
