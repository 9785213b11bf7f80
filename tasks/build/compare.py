"""Compare a new snapshot with the published one on sample queries, for the gate and for people."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.data.embeddings import Embeddings
from lookalike.data.errors import CorruptError, ImageRejectedError, NotFoundError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.fetch.images import read_image
from lookalike.data.reports import write_contact_sheet
from lookalike.data.snapshots.cache import BlobCache
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.products import Product
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build.contact_sheet import HITS, Row, Tile, draw_contact_sheet
from lookalike.tasks.search.searcher import Hit, Searcher

QUERIES = 50
SHOWN_QUERIES = 8
OVERLAP_AT = 10
MOST_BYTES = 4 * 2**30  # of both snapshots together: one worker fetches all of them

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the answers of a snapshot compare with those of the snapshot before it.

    Attributes:
        overlap: the share of the old first ten hits that are among the new first ten, averaged over QUERIES products.
            Hits that no longer exist do not count; another product with the same picture counts as the same hit. None
            where the encoders differ, and where the old snapshot cannot be read.
        contact_sheet: the key of the object that shows sample queries and their hits.
        problem: why the old snapshot cannot be read; empty where it can.
    """

    overlap: float | None
    contact_sheet: str
    problem: str = ""


def is_comparable(before: Manifest | None, after: Manifest) -> bool:
    """Tell whether both snapshots are small enough for one worker to open them."""
    found = set(after.blobs()) | (set(before.blobs()) if before else set())
    return sum(blob.size for blob in found) <= MOST_BYTES


def compare(store: str, before: Manifest | None, after: Manifest, *, policy: FetchPolicy, threads: int) -> Comparison:
    """Search both snapshots for sample products with the code that serves queries, and store a contact sheet."""
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-compare-") as folder:
        cache = BlobCache(Path(folder))
        new = Searcher.open(opened, after, cache, threads=threads)
        old, problem = None, ""
        try:
            old = Searcher.open(opened, before, cache, threads=threads, previous=new) if before else None
        except (CorruptError, NotFoundError) as error:  # a damaged snapshot is a reason more to replace it
            problem = str(error)
        queries = _sample(new, QUERIES)
        found = _search(opened, new, queries)
        found_before = _search(opened, old, queries) if old else [[] for _ in queries]
        shown = range(0, len(queries), -(-len(queries) // SHOWN_QUERIES))
        rows = [_make_row(queries[i], found_before[i], found[i], policy) for i in shown]
        overlap = (
            _measure_overlap(new, found_before, found) if before and before.encoder.is_same(after.encoder) else None
        )
        return Comparison(overlap, write_contact_sheet(opened, after.run, draw_contact_sheet(rows)), problem)


def _sample(searcher: Searcher, count: int) -> list[Product]:
    """Return products at even distances: rows are sorted by image hash, which is uniform, so the sample is unbiased."""
    alive = searcher.products.alive
    rows = np.arange(searcher.products.rows) if alive is None else np.flatnonzero(alive)
    return searcher.products.take(rows[:: -(-len(rows) // count)])


def _search(store: ObjectStore, searcher: Searcher, queries: Sequence[Product]) -> list[list[Hit]]:
    hashes = np.array([bytes.fromhex(product.image_hash) for product in queries], "V32")
    try:
        vectors = Embeddings(store, searcher.manifest.encoder.fingerprint).lookup(hashes)
    except CorruptError:  # another encoder, which has no vectors of the new pictures
        return [[] for _ in queries]
    return [searcher.search(vector.astype(np.float32), OVERLAP_AT) for vector in vectors]


def _measure_overlap(after: Searcher, before: Sequence[Sequence[Hit]], found: Sequence[Sequence[Hit]]) -> float | None:
    shares = []
    for old, new in zip(before, found, strict=True):
        still = [hit.product for hit in old if after.products.has(hit.product.id)]
        if still:
            shares.append(_count_found_again(still, [hit.product for hit in new]) / len(still))
    return float(np.mean(shares)) if shares else None


def _count_found_again(old: Sequence[Product], new: Sequence[Product]) -> int:
    """Count the old products that are among the new ones, or have another product with the same picture there."""
    same = {product.id for product in old} & {product.id for product in new}
    pictures = [Counter(product.image_hash for product in hits if product.id not in same) for hits in (old, new)]
    return len(same) + (pictures[0] & pictures[1]).total()


def _make_row(query: Product, before: Sequence[Hit], after: Sequence[Hit], policy: FetchPolicy) -> Row:
    def make_tiles(hits: Sequence[Hit]) -> list[Tile]:
        others = [hit for hit in hits if hit.product.id != query.id][:HITS]
        return [Tile(hit.product.id, _read_picture(hit.product, policy), hit.score) for hit in others]

    return Row(Tile(query.id, _read_picture(query, policy)), make_tiles(before), make_tiles(after))


def _read_picture(product: Product, policy: FetchPolicy) -> bytes | None:
    try:
        return read_image(product.image, policy=policy)
    except ImageRejectedError:
        return None
