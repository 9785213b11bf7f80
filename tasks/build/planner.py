"""The planner: which kinds of index there are, which one fits a catalogue, and why.

It chooses from operating points that were measured on a sample of this catalogue. Later snapshots keep the choice until
there is a reason to choose again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from lookalike.data.errors import InputError
from lookalike.data.snapshots.manifest import Manifest
from lookalike.tasks.search.projection import choose_dimension

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
ON_DISK: Kind = "IVF SQ8"
"""The kind whose lists may stay on disk: a list is read in one piece, and nothing is read again row by row."""

FLAT_UP_TO = 50_000  # exact search over so many vectors of 256 dimensions takes about 5 ms on one core
PRODUCTS_PER_SHARD = 500_000  # each shard holds all centroids: small shards would hold little else
TRAINING_SAMPLE = 65_536
TARGET_DIMENSION = 256
GROWTH = 2.0  # trained parts stay good while the catalogue has not doubled or halved since
IMBALANCE_GROWTH = 1.5  # in the rows that a query reads, since training: new products lie where there are few lists
GRAPH_BYTES = 270  # for each centroid, of links to others
AS_FAST = 1.25  # times the milliseconds of the fastest count as equally fast; the smallest of these is chosen


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
    """Return how many bytes a row takes in memory beyond the file of the index: filters need the list of each row."""
    return LIST_BYTES if key.startswith("IVF") else 0


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


Measure = Callable[[int | None], Sequence[OperatingPoint]]
Distort = Callable[[], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the index must reach: recall@10, and the bytes of memory that it may take; None for any number.

    `dimension` is that of its vectors, at most; None for the usual one, or what was trained before.
    """

    recall: float = 0.95
    max_bytes: int | None = None
    dimension: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build.

    Attributes:
        products: how many are indexed.
        pictures: how many different pictures they show.
        key: the FAISS factory string of every shard.
        dimension: of the indexed vectors.
        project: whether the encoder's vectors are projected to that dimension.
        shards: the number of shards.
        keep_trained: whether the parent snapshot's projection and trained index are used again.
        reason: why this was chosen, for people.
        on_disk: whether servers leave the inverted lists on their disks.
        distorted: hashes of the pictures whose distorted copies the projection is learnt from; none for PCA alone.
    """

    products: int
    pictures: int
    key: str
    dimension: int
    project: bool
    shards: int
    keep_trained: bool
    reason: str
    on_disk: bool = False
    distorted: tuple[bytes, ...] = ()


def plan(
    products: int,
    encoder_dimension: int,
    fingerprint: str,
    *,
    shards: int | None,
    parent: Manifest | None,
    pictures: int | None = None,
    refused_recall: float | None = None,
    wish: Wish | None = None,
    measure: Measure | None = None,
    distort: Distort = tuple,
) -> Plan:
    """Choose index type, dimension and shards for a catalogue; keep the trained parts of `parent` where they fit.

    Args:
        pictures: how many different pictures the products show; by default each its own. Fewer give less to learn from.
        refused_recall: recall@10 of the last run's snapshot, where the gate refused it.
        measure: returns operating points of the catalogue's vectors, projected to the given number of dimensions, or
            not projected for None. It is slow, so it is called only where exact search is too slow or too large.
            Without it, a fixed rule chooses.
        distort: returns hashes of pictures that have distorted copies. It is slow, so it is called only where a
            projection is to be learnt.

    Raises:
        InputError: no kind of index fits into `wish.max_bytes`.
    """
    wish, pictures = wish or Wish(), pictures or products
    wanted = shards or math.ceil(products / PRODUCTS_PER_SHARD)
    changed = _find_reason_to_train(parent, products, fingerprint, wish, refused_recall) if parent else None
    if parent and not changed:
        return Plan(
            products,
            pictures,
            parent.index.key,
            parent.index.dimension,
            parent.projection is not None,
            wanted,
            keep_trained=True,
            reason=f"as in snapshot {parent.id}, trained on {parent.index.trained_on:,} products",
            on_disk=parent.index.on_disk,
        )
    distorted = distort()
    target = choose_dimension(
        min(pictures, TRAINING_SAMPLE), encoder_dimension, wish.dimension or TARGET_DIMENSION, distorted=len(distorted)
    )
    catalogue = _Catalogue(products, pictures, target or encoder_dimension, wanted)
    key, on_disk, why = _choose_index_key(catalogue, wish, partial(measure, target) if measure else None)
    reason = "; ".join(filter(None, [changed, why, _describe_projection(target, len(distorted))]))
    project, dimension = target is not None, catalogue.dimension
    return Plan(
        *(products, pictures, key, dimension, project, wanted),
        keep_trained=False,
        reason=reason,
        on_disk=on_disk,
        distorted=distorted if project else (),
    )


def _describe_projection(target: int | None, distorted: int) -> str:
    if target is None:
        return "too few pictures to learn a projection from"
    if not distorted:
        return f"PCA with whitening to {target} dimensions"
    return f"projected to {target} dimensions, which tell apart what distorted copies of {distorted} pictures share"


def _find_reason_to_train(
    parent: Manifest, products: int, fingerprint: str, wish: Wish, refused_recall: float | None
) -> str | None:
    """Return why the parent's trained parts do not fit any more; None where they do."""
    index, quality = parent.index, parent.quality
    file_bytes = sum(shard.index.size for shard in parent.shards) / sum(shard.count for shard in parent.shards)
    size = (count_bytes_beside(index.key) + (0 if index.on_disk else file_bytes)) * products
    reached, imbalance = quality.get("recall_at_10", 1.0), quality.get("imbalance", 1.0)
    trained_imbalance = quality.get("imbalance_when_trained", imbalance)
    reasons = {
        f"another encoder than {parent.encoder.name}'s": parent.encoder.fingerprint != fingerprint,
        f"the catalogue was trained on at {index.trained_on:,} products": not (
            1 / GROWTH < products / index.trained_on < GROWTH
        ),
        f"recall@10 was {reached:.3f} in the last snapshot": reached < wish.recall,
        f"recall@10 was {refused_recall or 0:.3f} in the last run, and refused": (
            refused_recall is not None and refused_recall < wish.recall
        ),
        f"lists became uneven: {imbalance:.2f}, {trained_imbalance:.2f} when trained": (
            imbalance > IMBALANCE_GROWTH * trained_imbalance
        ),
        f"as before it would take {size:,.0f} bytes": wish.max_bytes is not None and size > wish.max_bytes,
        "lists lie on disk, and memory is not limited any more": index.on_disk and wish.max_bytes is None,
        f"{wish.dimension} dimensions are asked for, and it has {index.dimension}": (
            wish.dimension is not None and _differs_in_dimension(parent, products, wish.dimension)
        ),
    }
    return next((f"trained again: {reason}" for reason, holds in reasons.items() if holds), None)


def _differs_in_dimension(parent: Manifest, products: int, asked: int) -> bool:
    """Tell whether a catalogue could have the dimension that is asked for, and was trained for another one."""
    possible = choose_dimension(min(products, TRAINING_SAMPLE), parent.encoder.dimension, asked)
    had = parent.index.dimension if parent.projection else None
    return had is not None and (had > asked or had < (possible or 0))


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """What an index is chosen for: the numbers of products and of different pictures, the dimension, and the shards."""

    products: int
    pictures: int
    dimension: int
    shards: int


def _choose_index_key(
    catalogue: _Catalogue, wish: Wish, measure: Callable[[], Sequence[OperatingPoint]] | None
) -> tuple[str, bool, str]:
    """Return the key, whether its lists stay on disk, and why."""
    products, dimension = catalogue.products, catalogue.dimension
    fits = wish.max_bytes is None or 4 * dimension * products <= wish.max_bytes
    if products <= FLAT_UP_TO and fits:
        return "Flat", False, f"{products:,} products: exact search is fast enough"
    if measure is None:
        key = make_index_key("IVF SQ8", products, catalogue.pictures, dimension)
        return key, False, f"{products:,} products: inverted lists with one byte a dimension, unmeasured"
    points = measure()
    on_disk = [_Expected(point, catalogue, on_disk=True) for point in points if point.kind == ON_DISK]
    return _choose_measured([*(_Expected(point, catalogue) for point in points), *on_disk], wish)


def _choose_measured(options: Sequence[_Expected], wish: Wish) -> tuple[str, bool, str]:
    small = [option for option in options if wish.max_bytes is None or option.bytes <= wish.max_bytes]
    good = [option for option in small if option.point.recall >= wish.recall]
    held = [option for option in good if not option.on_disk]
    if held:
        fastest = min(option.milliseconds for option in held)
        best = min((one for one in held if one.milliseconds <= AS_FAST * fastest), key=lambda one: one.bytes)
        why = f"of what reaches {_describe_wish(wish)}, the smallest that is about as fast as the fastest"
    elif good:
        best = min(good, key=lambda option: option.milliseconds)
        why = f"nothing in memory reaches {_describe_wish(wish)}, so the inverted lists stay on the servers' disks"
    elif small:
        best = max(small, key=lambda option: option.point.recall)
        why = f"nothing reaches {_describe_wish(wish)}, this comes nearest"
    else:
        least = min(options, key=lambda option: option.bytes)
        raise InputError(
            f"no index of {least.catalogue.products:,} products fits into {wish.max_bytes:,} bytes; the smallest, "
            f"{least.key}, takes about {least.bytes:,}: allow as many, or leave products out"
        )
    others = ", ".join(f"{option}" for option in options if wish.max_bytes or not option.on_disk)
    reason = f"{best.catalogue.products:,} products: {why}; expected from a sample of {best.point.sample:,}: {others}"
    return best.key, best.on_disk, reason


def _describe_wish(wish: Wish) -> str:
    return f"recall@10 {wish.recall}" + (f" within {wish.max_bytes:,} bytes" if wish.max_bytes else "")


class _Expected:
    """The size and speed that an operating point on a sample predicts for the whole catalogue."""

    def __init__(self, point: OperatingPoint, catalogue: _Catalogue, *, on_disk: bool = False) -> None:
        products, pictures, dimension = catalogue.products, catalogue.pictures, catalogue.dimension
        self.point = point
        self.catalogue = catalogue
        self.on_disk = on_disk
        self.key = make_index_key(point.kind, products, pictures, dimension)
        lists = count_lists(point.kind, products, pictures)
        # servers keep the centroids of one shard, and those of others lie in its file
        copies = 1 if on_disk else catalogue.shards
        row = count_bytes_beside(self.key) if on_disk else point.bytes_per_vector
        self.bytes = int(row * products) + (4 * dimension + GRAPH_BYTES) * lists * copies
        self.milliseconds = point.query_ms * _estimate_slowdown(point, products, catalogue.shards)

    def __str__(self) -> str:
        size = f"{self.bytes / 2**20:,.0f} MiB"
        where = " with lists on disk" if self.on_disk else ""
        return f"{self.key}{where} recall {self.point.recall:.3f} in {self.milliseconds:.2f} ms and {size}"


def _estimate_slowdown(point: OperatingPoint, products: int, shards: int) -> float:
    """Return how many times as long a query takes in the whole catalogue.

    Exact search reads all rows. A walk through a graph takes log n steps, in each shard. For inverted lists, the number
    of rows to read was measured.
    """
    if point.compared_in_all is not None:
        return point.compared_in_all / point.compared
    if point.kind == "HNSW SQ8":
        return shards * math.log(max(2.0, products / shards)) / math.log(point.sample)
    return max(1.0, products / point.sample)
