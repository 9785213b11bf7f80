"""The searcher: an open snapshot with everything that a query needs, in one object that never changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lookalike.data.errors import CorruptError, InputError
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.colours import VERSION as COLOURS_VERSION
from lookalike.data.snapshots.duplicates import GROUPS, Duplicates, write_groups
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.mapped.arrays import Arrays
from lookalike.data.snapshots.mapped.colour_names import COLOUR_NAMES, write_colour_names
from lookalike.data.snapshots.mapped.shard_products import COLUMNS, write_columns
from lookalike.data.snapshots.products import Product, Products, alive_rows
from lookalike.data.stores import ObjectStore
from lookalike.tasks.encoders.base import EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.search.colours import Colours
from lookalike.tasks.search.filters import Condition, match_products, size_of
from lookalike.tasks.search.index import MOST_BYTES, ShardedIndex
from lookalike.tasks.search.meaning import TextSpace
from lookalike.tasks.search.order import REACH, Order, check_order, sort_rows
from lookalike.tasks.search.projection import Projection, normalise
from lookalike.tasks.search.recent import Recent
from lookalike.tasks.search.tower import TextTower
from lookalike.tasks.search.views import Views, list_index_parts
from lookalike.tasks.search.words.tokens import VERSION
from lookalike.tasks.search.words.words import Words

Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hit:
    """A product found. `score` is the cosine similarity of the indexed vectors, higher is closer.

    `view` says which of several pictures was the nearest, the first being 1; None where the product has one picture, or
    no picture was looked for.
    """

    score: float
    product: Product
    view: int | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """Rows of a snapshot and their cosine similarities, best first."""

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64]) -> Matches:
        return Matches(self.scores[places], self.rows[places])

    def skip(self, count: int) -> Matches:
        return Matches(self.scores[count:], self.rows[count:])


class Searcher:
    """One snapshot, ready to answer. Safe to use from many threads at once."""

    def __init__(
        self,
        manifest: Manifest,
        encoder: OnnxEncoder,
        projection: Projection | None,
        index: ShardedIndex,
        products: Products,
        duplicates: Duplicates,
        words: Words | None = None,
        texts: TextSpace | None = None,
        tower: TextTower | None = None,
        colours: Colours | None = None,
    ) -> None:
        self.manifest = manifest
        self.encoder = encoder
        self.products = products
        self.duplicates = duplicates
        self.words = words
        """What the words of products are; None where the snapshot has none, or by rules that this release lacks."""
        self.texts = texts
        self.tower = tower
        """What puts texts into the space of pictures; None where the encoder of pictures cannot."""
        self.colours = colours
        """How much of which colour pictures have; None as for words."""
        self._projection = projection
        self._index = index
        self._masks: Recent[Mask] = Recent(MOST_BYTES)

    @classmethod
    def open(
        cls,
        store: ObjectStore,
        manifest: Manifest,
        cache: BlobCache,
        *,
        threads: int,
        previous: Searcher | None = None,
    ) -> Searcher:
        """Fetch the blobs that the cache lacks, check them, map them into memory and warm them up.

        Args:
            threads: how many the encoder may use for one batch.
            previous: an open snapshot; its encoder is shared where both have the same one.

        Raises:
            CorruptError: a part of the snapshot is missing, damaged, or differs from what the manifest says.
        """
        section = manifest.index
        files = {blob: cache.get(store, blob) for blob in manifest.blobs()}
        alive = _read_alive_rows(manifest, files)
        parts = list_index_parts(manifest.shards)
        index = ShardedIndex.open(
            [files[blob] for blob, _ in parts],
            [count for _, count in parts],
            section.dimension,
            nprobe=section.nprobe,
            ef_search=section.ef_search,
            k_factor=section.k_factor,
            alive=alive,
            views=Views.open(manifest.shards, files),
            previous=previous._index if previous else None,
        )
        columns = [cache.get_made(store, shard.products, COLUMNS, write_columns) for shard in manifest.shards]
        shown = _list_colours(manifest)
        names = [cache.get_made(store, blob, COLOUR_NAMES, write_colour_names) for blob in shown]
        products = Products.open(columns, alive, names)
        if products.rows != index.size:
            raise CorruptError(f"{products.rows} products for {index.size} vectors in snapshot {manifest.id}")
        projection = None
        if manifest.projection:
            projection = Projection.from_bytes(
                files[manifest.projection].read_bytes(),
                inputs=manifest.encoder.dimension,
                outputs=section.dimension,
            )
        encoder = _open_encoder(manifest, files, threads, previous)
        index.warm_up(on_disk=section.on_disk)
        near = None
        if manifest.duplicates:
            near = Arrays.map(cache.get_made(store, manifest.duplicates.groups, GROUPS, write_groups))
        duplicates = Duplicates.of(products, near)
        words = _open_words(manifest, files, alive)
        before = previous.texts if previous else None
        texts = TextSpace.open(manifest, files, alive, threads=threads, previous=before)
        above = previous.tower if previous else None
        tower = TextTower.open(manifest, files, projection, threads=threads, previous=above)
        counts = [shard.count for shard in manifest.shards]
        colours = Colours.open([files[blob] for blob in shown], counts, alive) if shown else None
        return cls(manifest, encoder, projection, index, products, duplicates, words, texts, tower, colours)

    @property
    def is_exact(self) -> bool:
        """Whether each search compares with every row, so that it finds the exact nearest for any k."""
        return self._index.is_exact

    def embed(self, image: bytes) -> Vectors:
        """Return the (encoder dimension,) vector of one picture. Raises `ImageRejectedError`."""
        prepared = self.encoder.prepare(image)[None]
        vector: Vectors = self.encoder.finish(self.encoder.infer(prepared))[0]
        return vector

    def match(self, conditions: Sequence[Condition]) -> Mask | None:
        """Return a mask (rows,) of the products that satisfy all conditions, None for no condition.

        It cannot be written to, and is kept for queries with the same conditions. Raises `FilterError`.
        """
        if not conditions:
            return None
        key = tuple(conditions)
        return self._masks.get(key, lambda: self._match(key), self.products.rows + size_of(key))

    def _match(self, conditions: Sequence[Condition]) -> Mask:
        mask = match_products(self.products, conditions)
        mask.flags.writeable = False
        return mask

    def search(
        self, vector: Vectors, k: int, conditions: Sequence[Condition] = (), order: Order | None = None
    ) -> list[Hit]:
        """Return the k products nearest to an (encoder dimension,) vector among those that satisfy the conditions.

        With an order they are the first k of the REACH nearest. Raises `InputError` for a vector of another length and
        for an order that does not fit the attributes, `FilterError` for a condition that does not.
        """
        allowed = self.match(conditions)
        direction = self.direction(vector)
        if order is None or order.is_best_first:
            return self._hits_near(direction, self.nearest(direction, k, allowed))
        check_order(order, self.products.attributes)
        found = self.nearest(direction, REACH, allowed)
        return self._hits_near(direction, found.take(sort_rows(self.products, found.rows, order, k)))

    def similar(self, product: str, k: int, conditions: Sequence[Condition] = ()) -> list[Hit]:
        """Return the k products nearest to the first picture of a product, without itself.

        Raises `UnknownProductError`.
        """
        row = self.products.row(product)
        allowed = self.match(conditions)
        direction = self.direction_of(row)
        found = self.nearest(direction, k + 1, allowed)
        return self._hits_near(direction, found.take(np.flatnonzero(found.rows != row)[:k]))

    def direction(self, vector: Vectors) -> Vectors:
        """Return the direction (index dimension,), of length 1, that an (encoder dimension,) vector has in the index.

        Raises `InputError` for a vector of another length, for one that is not finite, and for all zeros.
        """
        wanted = self.manifest.encoder.dimension
        if vector.shape != (wanted,) or not np.isfinite(vector).all() or not vector.any():
            raise InputError(f"a vector must have {wanted} finite numbers, not all of them zero")
        queries = np.asarray(vector[None], np.float32)
        direction: Vectors = (self._projection(queries) if self._projection else normalise(queries))[0]
        return direction

    def direction_of(self, row: int) -> Vectors:
        """Return the direction (index dimension,), of length 1, of the first picture of the product in a row."""
        direction: Vectors = normalise(self._index.reconstruct(row)[None])[0]
        return direction

    def directions_of(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n, index dimension) directions, of length 1, of the first pictures of products in (n,) rows."""
        return normalise(self._index.reconstruct_rows(rows))

    def nearest(
        self, direction: Vectors, k: int, allowed: NDArray[np.bool_] | None = None, *, exact: bool = False
    ) -> Matches:
        """Return the k rows nearest to an (index dimension,) direction, among `allowed` rows where a mask is given.

        With `exact`, every row is compared, and the index's search parameters play no part.
        """
        search = self._index.search_exact if exact else self._index.search
        found = search(direction[None], k, allowed=allowed)
        kept = found.rows[0] >= 0
        return Matches(np.clip(found.scores[0][kept], -1.0, 1.0), found.rows[0][kept])

    def compare(self, direction: Vectors, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n,) cosine similarities of (n,) rows with an (index dimension,) direction.

        Of several pictures of a product the nearest one counts.
        """
        return np.clip(self._index.compare(direction, rows), -1.0, 1.0)

    @property
    def has_views(self) -> bool:
        """Whether any product has several pictures."""
        return self._index.views is not None

    def find_views(self, direction: Vectors, rows: NDArray[np.int64]) -> list[int | None]:
        """Return which picture of each of (n,) rows is the nearest to a direction; None where a row has one picture."""
        return [number or None for number in self._index.find_views(direction, rows).tolist()]

    def hits(
        self,
        found: Matches,
        names: Collection[str] | None = None,
        check: Callable[[int], None] | None = None,
        *,
        views: Sequence[int | None] | None = None,
    ) -> list[Hit]:
        """Return the products of the found rows with their scores, best first; `names` and `check` as `take` has.

        `views` are the nearest pictures, as `find_views` returns them.
        """
        products = self.products.take(found.rows, names=names, check=check)
        shown = views or [None] * len(products)
        return [Hit(*one) for one in zip(found.scores.tolist(), products, shown, strict=True)]

    def _hits_near(self, direction: Vectors, found: Matches) -> list[Hit]:
        return self.hits(found, views=self.find_views(direction, found.rows))

    def product(self, product: str) -> Product:
        """Return a product by its id. Raises `UnknownProductError`."""
        return self.products.take([self.products.row(product)])[0]


def _read_alive_rows(manifest: Manifest, files: dict[Blob, Any]) -> NDArray[np.bool_] | None:
    if not any(shard.tombstones for shard in manifest.shards):
        return None
    masks = [
        alive_rows(shard, files[shard.tombstones].read_bytes() if shard.tombstones else None)
        for shard in manifest.shards
    ]
    return np.concatenate(masks)


def _list_colours(manifest: Manifest) -> list[Blob]:
    """Return the shares of all shards; none where these were measured by rules that this release lacks."""
    if manifest.colours is None or manifest.colours.version != COLOURS_VERSION:
        return []
    return [shard.colours for shard in manifest.shards if shard.colours]


def _open_words(manifest: Manifest, files: dict[Blob, Path], alive: Mask | None) -> Words | None:
    if manifest.words is None or manifest.words.tokens != VERSION:
        return None
    texts = [files[shard.text] for shard in manifest.shards if shard.text]
    words = Words.open(texts, [shard.count for shard in manifest.shards], alive)
    words.warm_up()
    return None if words.is_empty else words


def _open_encoder(manifest: Manifest, files: dict[Blob, Any], threads: int, previous: Searcher | None) -> OnnxEncoder:
    section = manifest.encoder
    if previous and previous.manifest.encoder.is_same(section):
        return previous.encoder
    try:
        spec = EncoderSpec.model_validate_json(files[section.spec].read_bytes())
    except ValidationError as error:
        raise CorruptError(f"the encoder's spec in snapshot {manifest.id} is damaged: {error}") from error
    if (spec.fingerprint, spec.dimension) != (section.fingerprint, section.dimension):
        raise CorruptError(f"the encoder's spec in snapshot {manifest.id} is not the one the manifest names")
    encoder = OnnxEncoder(files[section.model], spec, threads=threads, spread=True)
    encoder.warm_up()
    return encoder
