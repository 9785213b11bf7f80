"""Deltas: the shard and tombstones that a refresh puts on top of the last full build, and when they are too much."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list, is_text, item_type
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.colours import VERSION as COLOURS_VERSION
from lookalike.data.snapshots.leases import STAT_THREADS
from lookalike.data.snapshots.manifest import EncoderSection, Manifest, ShardSection
from lookalike.data.snapshots.products import (
    VIEWS,
    read_alive_rows,
    read_shard_products,
    tombstones_to_bytes,
    with_views,
)
from lookalike.data.stores import ObjectStore
from lookalike.tasks.build.jobs import Measurement, build_delta, measure_refresh
from lookalike.tasks.published import Published
from lookalike.tasks.resolve import ResolvedDelta
from lookalike.tasks.scan.join import ROWS_IN_A_SHARD
from lookalike.tasks.search.neighbours import SearchParameters
from lookalike.tasks.search.words.tokens import VERSION

MOST_OF_BASE = 0.1  # of the last full build, in a delta or under tombstones: beyond, searches pay for it
MOST_PRODUCTS = 50_000  # in a delta, which is searched exactly

Rows = NDArray[np.int64]


def find_reason_to_rebuild(
    published: Published, encoder: EncoderSection, *, channel: str, attribution: str
) -> str | None:
    """Return why nothing can be put on top of what a channel points at; None where it can."""
    manifest = published.manifest
    if manifest is None:
        return f"channel {channel!r} has no snapshot to build upon yet"
    if not manifest.encoder.is_same(encoder):
        return f"the published snapshot was made by another encoder, {manifest.encoder.name}"
    if manifest.catalogue.attribution != attribution:
        return "the attribution is another one"
    if manifest.words and manifest.words.tokens != VERSION:
        return "the words of the published snapshot were found by other rules"
    if manifest.colours and manifest.colours.version != COLOURS_VERSION:
        return "the colours of the published snapshot were measured by other rules"
    return None


def find_reason_against_delta(store: ObjectStore, parent: Manifest, resolved: ResolvedDelta) -> str | None:
    """Return why a full build is better than another delta; None where the delta is small enough, and fits."""
    if resolved.products is not None:
        schema = _read_schema(store, parent)
        if VIEWS in resolved.products.column_names and VIEWS not in schema.names:
            return "products have several pictures, and none had in the last full build"
        if fit_products(resolved.products, schema) is None:
            return "the attributes are others, or of other types, than in the last full build"
    base = sum(shard.count for shard in parent.shards if not shard.delta)
    inside = sum(shard.alive for shard in parent.shards if shard.delta)
    delta = inside + (resolved.products.num_rows if resolved.products else 0)
    dead = sum(shard.dead for shard in parent.shards) + len(resolved.dead)
    most = max(1, min(MOST_PRODUCTS, int(MOST_OF_BASE * base)))
    if delta > most:
        return f"{delta:,} products came or changed since the last full build of {base:,}; {most:,} go into a delta"
    if dead > MOST_OF_BASE * base:
        return f"{dead:,} products changed or went since the last full build of {base:,}"
    return None


def build(
    store: ObjectStore, uri: str, encoder: EncoderSection, parent: Manifest, resolved: ResolvedDelta
) -> tuple[list[ShardSection], Measurement]:
    """Build the delta and the tombstones; return all shards, and how well they answer.

    Args:
        uri: of the store.

    Raises:
        CorruptError: a file of the parent is damaged.
        NotFoundError: a file of the parent is lost.
    """
    _check_files(store, parent)
    dead = _by_shard(resolved.dead)
    shards = [
        _with_tombstones(store, shard, dead.get(number, ()))
        for number, shard in enumerate(parent.shards)
        if not shard.delta
    ]
    products = _delta_products(store, parent, resolved, dead)
    if not products.num_rows:
        return shards, _measured_before(parent)
    space = parent.image.model_copy(update={"encoder": encoder})
    words, colours = parent.words is not None, parent.colours is not None
    shards.append(build_delta(uri, space, products, words=words, colours=colours))
    return shards, measure_refresh(uri, shards, parent.index)


def fit_products(products: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """Return products with the columns and types of the last full build; None where a value would be lost."""
    if VIEWS in schema.names and VIEWS not in products.column_names:
        products = with_views(products)
    try:
        if len(products.schema) != len(schema) or not _attributes_fit(products, schema):
            return None
        return products.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, KeyError, ValueError):
        return None


def _check_files(store: ObjectStore, parent: Manifest) -> None:
    """A refresh keeps all of the last full build's files, though it reads few of them: see that they are there."""
    wanted = sorted(set(parent.blobs()), key=lambda blob: blob.key)
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        sizes = pool.map(lambda blob: store.stat(blob.key).size, wanted)
        for blob, size in zip(wanted, sizes, strict=True):
            if size != blob.size:
                raise CorruptError(f"{blob.key} is damaged: it has {size} bytes instead of {blob.size}")


def _by_shard(places: Rows) -> dict[int, Rows]:
    """Return the rows of places in the published snapshot, by the number of their shard."""
    shards = places // ROWS_IN_A_SHARD
    return {int(number): places[shards == number] % ROWS_IN_A_SHARD for number in np.unique(shards)}


def _with_tombstones(store: ObjectStore, shard: ShardSection, rows: Iterable[int]) -> ShardSection:
    """Return a shard of the last full build with some more of its rows dead."""
    alive = read_alive_rows(store, shard)
    alive[np.fromiter(rows, np.int64)] = False
    dead = np.flatnonzero(~alive)
    if len(dead) == shard.dead:
        return shard
    blob = blobs.put_bytes(store, tombstones_to_bytes(dead))
    return shard.model_copy(update={"tombstones": blob, "dead": len(dead)})


def _delta_products(store: ObjectStore, parent: Manifest, resolved: ResolvedDelta, dead: dict[int, Rows]) -> pa.Table:
    """Return what the new delta holds: what is still good of the one before, and what came or changed."""
    schema = _read_schema(store, parent)
    parts = []
    for number, shard in enumerate(parent.shards):
        if shard.delta:
            gone = dead.get(number, np.empty(0, np.int64))
            parts += [table.filter(pa.array(~np.isin(rows, gone))) for table, rows in read_shard_products(store, shard)]
    if resolved.products is not None:
        parts.append(fit_products(resolved.products, schema))
    return pa.concat_tables([part.cast(schema) for part in parts]) if parts else schema.empty_table()


def _read_schema(store: ObjectStore, parent: Manifest) -> pa.Schema:
    """Return the columns that the shards of the last full build have."""
    base = next(shard for shard in parent.shards if not shard.delta)
    table, _ = next(read_shard_products(store, base))
    return table.schema.remove_metadata()


def _attributes_fit(products: pa.Table, schema: pa.Schema) -> bool:
    """Tell whether Arrow may cast the attributes: it drops those without a place, and makes True of 7, silently."""
    if "attributes" not in products.column_names:
        return True
    kinds = {field.name: field.type for field in schema.field("attributes").type}
    return all(
        _fits(pc.struct_field(products["attributes"], field.name), kinds.get(field.name))
        for field in products.schema.field("attributes").type
    )


def _fits(column: pa.ChunkedArray, kind: pa.DataType | None) -> bool:
    """An attribute without any value is text, whichever type it had before; an empty list is a value."""
    if column.null_count == len(column):
        return True
    if kind is None or is_list(column.type) != is_list(kind):
        return False
    items = pc.list_flatten(column) if is_list(column.type) else column
    return items.null_count == len(items) or _is_as_wide(item_type(kind), item_type(column.type))


def _is_as_wide(kind: pa.DataType, other: pa.DataType) -> bool:
    """Tell whether a type holds what another does, as the same value; whether a number is exact, the cast checks.

    Text holds no numbers: their type is known here, and no longer how the catalogue wrote them.
    """
    if kind == other or (is_text(kind) and is_text(other)):
        return True
    if pa.types.is_floating(kind) and pa.types.is_integer(other):
        return True
    same = any(is_kind(kind) and is_kind(other) for is_kind in (pa.types.is_integer, pa.types.is_floating))
    return bool(same and kind.bit_width >= other.bit_width)


def _measured_before(parent: Manifest) -> Measurement:
    """Nothing was added: each answer is the old one without what is gone."""
    index, quality = parent.index, parent.quality
    return Measurement(
        quality["recall_at_10"],
        quality["query_ms"] / 1000,
        SearchParameters(index.nprobe, index.ef_search, index.k_factor),
        quality.get("imbalance"),
    )
