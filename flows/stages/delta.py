"""Deltas: the shard and tombstones that a refresh puts on top of the last full build, and when they are too much."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.types import is_list, is_text, item_type
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs, tombstones
from lookalike.data.snapshots.leases import STAT_THREADS
from lookalike.data.snapshots.manifest import CatalogueSection, EncoderSection, Manifest, ShardSection
from lookalike.data.snapshots.products import read_shard_products
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.stage import stage
from lookalike.flows.stages.resolve import Recorded
from lookalike.flows.stages.scan import ROWS_IN_A_SHARD
from lookalike.tasks.build import jobs as building
from lookalike.tasks.build.jobs import Measured
from lookalike.tasks.search.group import SearchParameters

MOST_OF_BASE = 0.1  # of the last full build, in a delta or under tombstones: beyond, searches pay for it
MOST_PRODUCTS = 50_000  # in a delta, which is searched exactly


def needs_full_build(run: Run, encoder: EncoderSection) -> str | None:
    """Return why nothing can be put on top of the published snapshot; None where it can."""
    parent = run.parent
    if parent is None:
        return f"channel {run.channel.name!r} has no snapshot to build upon yet"
    if not parent.encoder.is_same(encoder):
        return f"the published snapshot was made by another encoder, {parent.encoder.name}"
    if parent.catalogue.attribution != run.attribution:
        return "the attribution is another one"
    return None


def too_much(run: Run, parent: Manifest, recorded: Recorded) -> str | None:
    """Return why a full build is better than another delta; None where the delta is small enough."""
    if recorded.delta is not None and _fitted(recorded.delta, _schema(run, parent)) is None:
        return "the attributes are others, or of other types, than in the last full build"
    base = sum(shard.count for shard in parent.shards if not shard.delta)
    inside = sum(shard.alive for shard in parent.shards if shard.delta)
    delta = inside + (recorded.delta.num_rows if recorded.delta else 0)
    dead = sum(shard.dead for shard in parent.shards) + len(recorded.dead)
    most = max(1, min(MOST_PRODUCTS, int(MOST_OF_BASE * base)))
    if delta > most:
        return f"{delta:,} products came or changed since the last full build of {base:,}; {most:,} go into a delta"
    if dead > MOST_OF_BASE * base:
        return f"{dead:,} products changed or went since the last full build of {base:,}"
    return None


@stage("delta")
def build(
    run: Run, parent: Manifest, encoder: EncoderSection, recorded: Recorded
) -> tuple[list[ShardSection], Measured]:
    """Build the delta and the tombstones; return all shards, and how well they answer.

    Raises `CorruptError` and `NotFoundError` where a file of the parent is damaged or lost.
    """
    _see_that_all_is_there(run, parent)
    dead = _by_shard(recorded.dead)
    base = [_buried(run, shard, dead.get(number, ())) for number, shard in enumerate(parent.shards) if not shard.delta]
    products = _delta_products(run, parent, recorded, dead)
    space = parent.image.model_copy(update={"encoder": encoder})
    delta = [building.build_delta(run.request.store, space, products)] if products.num_rows else []
    shards = [*base, *delta]
    measured = building.measure_refresh(run.request.store, shards, parent.index) if delta else _as_before(parent)
    run_log(__name__).info(
        "delta: %s products, %s tombstones, recall@10 %.3f",
        f"{products.num_rows:,}",
        f"{sum(shard.dead for shard in shards):,}",
        measured.recall,
    )
    return shards, measured


def catalogue_section(run: Run, parent: Manifest, shards: Iterable[ShardSection]) -> CatalogueSection:
    """Return the manifest's description of a catalogue that is stored as that of the last full build, and changes."""
    content = "".join(f"{shard.products.sha256}{shard.tombstones}" for shard in shards)
    return CatalogueSection(
        id=hashlib.sha256(content.encode()).hexdigest()[:16],
        uri=run.request.catalogue,
        products=sum(shard.alive for shard in shards),
        attribution=run.attribution,
    )


def _see_that_all_is_there(run: Run, parent: Manifest) -> None:
    """A refresh keeps all of the last full build's files, though it reads few of them."""
    wanted = sorted(set(parent.blobs()), key=lambda blob: blob.key)
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        sizes = pool.map(lambda blob: run.store.stat(blob.key).size, wanted)
        for blob, size in zip(wanted, sizes, strict=True):
            if size != blob.size:
                raise CorruptError(f"{blob.key} is damaged: it has {size} bytes instead of {blob.size}")


def _by_shard(
    places: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    shards = places // ROWS_IN_A_SHARD
    return {int(number): places[shards == number] % ROWS_IN_A_SHARD for number in np.unique(shards)}


def _buried(run: Run, shard: ShardSection, rows: Iterable[int]) -> ShardSection:
    """Return a shard of the last full build with some more of its rows dead."""
    alive = tombstones.read_alive_rows(run.store, shard)
    alive[np.fromiter(rows, np.int64)] = False
    dead = np.flatnonzero(~alive)
    if len(dead) == shard.dead:
        return shard
    blob = blobs.put_bytes(run.store, tombstones.to_bytes(dead))
    return shard.model_copy(update={"tombstones": blob, "dead": len(dead)})


def _delta_products(
    run: Run, parent: Manifest, recorded: Recorded, dead: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]]
) -> pa.Table:
    """Return what the new delta holds: what is still good of the one before, and what came or changed."""
    schema = _schema(run, parent)
    parts = []
    for number, shard in enumerate(parent.shards):
        if shard.delta:
            gone = dead.get(number, np.empty(0, np.int64))
            parts += [
                table.filter(pa.array(~np.isin(rows, gone))) for table, rows in read_shard_products(run.store, shard)
            ]
    if recorded.delta is not None:
        parts.append(_fitted(recorded.delta, schema))
    return pa.concat_tables([part.cast(schema) for part in parts]) if parts else schema.empty_table()


def _schema(run: Run, parent: Manifest) -> pa.Schema:
    """Return the columns that the shards of the last full build have."""
    base = next(shard for shard in parent.shards if not shard.delta)
    table, _ = next(read_shard_products(run.store, base))
    return table.schema.remove_metadata()


def _fitted(products: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """Return products with these columns and types; None where something would be lost."""
    try:
        if len(products.schema) != len(schema) or not _attributes_fit(products, schema):
            return None
        return products.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, KeyError, ValueError):
        return None


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
    """An attribute without any value is text, whatever it was before; an empty list is a value."""
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


def _as_before(parent: Manifest) -> Measured:
    """Nothing was added: each answer is the old one without what is gone."""
    index, quality = parent.index, parent.quality
    return Measured(
        quality["recall_at_10"],
        quality["query_ms"] / 1000,
        SearchParameters(index.nprobe, index.ef_search, index.k_factor),
        quality.get("imbalance"),
    )
