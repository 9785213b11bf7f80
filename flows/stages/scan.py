"""Scan and diff: what there is, what moved, and what has no vector yet."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.image_hashes import list_hashes, read_hashes
from lookalike.data.catalogue.reader import Batch, read_catalogue
from lookalike.data.catalogue.rejects import Reject, RejectLog, read_reject_table
from lookalike.data.embeddings import HASH, Embeddings, hash_array, positions
from lookalike.data.errors import CorruptError, ImageRejectedError, NotFoundError
from lookalike.data.partitioned import BUCKETS, PartitionedTable
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.snapshots.products import read_shard_products
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.partitions import KILLED, Partition, map_partitions
from lookalike.flows.runtime.progress import StageProgress, stage_progress
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.stage import stage
from lookalike.tasks import scan as scanning
from lookalike.tasks.embed import partition as partitions
from lookalike.tasks.scan import NOWHERE, SAME, id_buckets

PICTURES_PER_PARTITION = 512
ROWS_IN_A_SHARD = 2**40  # a place is a shard's number times this, and the row in it

Hashes = list[bytes | ImageRejectedError]


class Found:
    """What a scan found.

    Attributes:
        products: what can be used, with the columns of `lookalike.tasks.scan.Joined`, by range of image hashes; of a
            refresh, those only that came or changed.
        gone: `id` and `place` of what the published snapshot has, and the catalogue has not, or no longer usable.
        listed: how many products the catalogue has.
        known: names of the files of hashes that earlier runs left.
        needed: those of them with a hash that a snapshot made of this scan would not hold.
        unseen: how many products stay as they are published, for their picture could not be looked at.
    """

    def __init__(self, run: Run) -> None:
        self.products = run.new_spill("products")
        self.gone: list[pa.Table] = []
        self.listed = 0
        self.known = list_hashes(run.store)
        self.needed: set[str] = set()
        self.unseen = 0

    def superfluous(self) -> list[str]:
        """Return the names of the files of hashes that nobody needs once a snapshot of this scan is published."""
        return [key for key in self.known if key not in self.needed]


class Missing:
    """Pictures without a vector under the run's encoder: `image_hash`, `image` and `image_version`, by range."""

    def __init__(self, pictures: PartitionedTable) -> None:
        self.pictures = pictures

    @property
    def count(self) -> int:
        """How many there are, each once."""
        return self.pictures.rows


@stage("scan")
def scan(run: Run) -> Found:
    """Read the catalogue, beside what the published snapshot has; hash the pictures that moved."""
    found, rejects = Found(run), run.new_rejects("scan")
    moved = 0
    with stage_progress("scan") as progress:
        joined = _Joining(run, found, rejects, progress)
        for partition, hashes in map_partitions(
            run.cluster,
            partial(partitions.hash_pictures, store=run.request.store, policy=run.request.policy),
            joined.to_hash(),
            on_poison=_killed_worker,
            columns=("id", "image", "image_version"),
            deadline=run.deadline,
        ):
            moved += partition.rows.num_rows
            _take_hashes(run, found, partition.rows, hashes, rejects)
            progress.advance(partition.rows.num_rows)
    run_log(__name__).info(
        "scan: %s products, %s pictures new or moved, %s rejected",
        f"{found.listed:,}",
        f"{moved:,}",
        f"{rejects.total:,}",
    )
    if found.unseen:
        run_log(__name__).warning(
            "scan: %s pictures could not be looked at: their products stay as they are published", f"{found.unseen:,}"
        )
    return found


@stage("diff")
def diff(run: Run, found: Found, encoder: EncoderSection) -> Missing:
    """Return the pictures, each once, that have no vector under this encoder."""
    known = _with_vectors(run, encoder) if found.products.rows else run.new_spill("known")
    missing = run.new_spill("missing")
    pictures = 0
    for bucket in range(BUCKETS):
        products = found.products.read(bucket)
        if products is not None:
            once = _each_once(products)
            pictures += once.num_rows
            new = _without(once, known.read(bucket))
            missing.add(new, np.full(new.num_rows, bucket))
    run_log(__name__).info(
        "diff: %s pictures to embed, %s have their vector", f"{missing.rows:,}", f"{pictures - missing.rows:,}"
    )
    return Missing(missing)


def still_missing(run: Run, missing: Missing, encoder: EncoderSection) -> Missing:
    """Return those that have got no vector since."""
    known = _with_vectors(run, encoder)
    left = run.new_spill("still-missing")
    for bucket in range(BUCKETS):
        pictures = missing.pictures.read(bucket)
        if pictures is not None:
            without = _without(pictures, known.read(bucket))
            left.add(without, np.full(without.num_rows, bucket))
    return Missing(left)


def _with_vectors(run: Run, encoder: EncoderSection) -> PartitionedTable:
    """Return the hashes of all pictures that have a vector, by range."""
    known = run.new_spill("known")
    for hashes in Embeddings(run.store, encoder.fingerprint).hash_columns():
        column = pa.array(hashes.tolist(), HASH)
        known.add(pa.table({"image_hash": column}), scanning.hash_buckets(positions(hashes)))
    return known


class _Joining:
    """The catalogue beside what is known, a bucket of ids at a time."""

    def __init__(self, run: Run, found: Found, rejects: RejectLog, progress: StageProgress) -> None:
        self._run = run
        self._found = found
        self._rejects = rejects
        self._progress = progress

    def to_hash(self) -> Iterator[Partition]:
        """Yield the products whose pictures must be read; take up all others."""
        for number, part in enumerate(scanning.regrouped(self._unknown(), PICTURES_PER_PARTITION)):
            yield Partition(f"scan-{number}", part)

    def _unknown(self) -> Iterator[pa.Table]:
        listed = self._listed()
        self._progress.expect(listed.rows)
        previous = self._previous()
        if self._run.request.full:  # they are not looked at
            self._found.needed.update(self._found.known)
        known, rejected = (None, None) if self._run.request.full else (self._known(), self._rejected())
        for bucket in range(BUCKETS):
            products, facts = listed.read(bucket), known.read(bucket) if known else None
            if products is None:
                self._gone_bucket(previous.read(bucket))
                self._keep_hashes(facts)
                continue
            yield self._join(products, previous.read(bucket), facts, rejected.read(bucket) if rejected else None)

    def _join(
        self, products: pa.Table, before: pa.Table | None, facts: pa.Table | None, rejected: pa.Table | None
    ) -> pa.Table:
        known = [] if facts is None else [facts]
        joined = scanning.join(products, before, known, rejected, trust=not self._run.request.full)
        self._rejects.extend(joined.rejects)
        self._found.gone.append(joined.gone)
        self._found.listed += joined.products.num_rows
        if facts is not None:
            held = scanning.versions(products, among=facts)
            if self._run.request.kind == "refresh" and before is not None:
                # what is the same stays in its shard, with the version that it has there
                same = joined.products.filter(pa.array(scanning.changes(joined.products) == SAME))
                held -= scanning.versions(same, among=facts) - scanning.versions(before, among=facts)
            self._keep_hashes(facts, held)
        resolved = joined.products["image_hash"].is_valid()
        _take(self._run, self._found, joined.products.filter(resolved))
        unknown = joined.products.filter(pc.invert(resolved))
        self._progress.advance(products.num_rows - unknown.num_rows)
        return unknown

    def _keep_hashes(self, facts: pa.Table | None, held: AbstractSet[scanning.Version] = frozenset()) -> None:
        """Note the files of hashes that are needed: those with one that a snapshot of this scan would not hold."""
        if facts is not None:
            rows = zip(facts["file"].to_pylist(), scanning.version_rows(facts), strict=True)
            self._found.needed.update(self._found.known[file] for file, row in rows if row not in held)

    def _gone_bucket(self, before: pa.Table | None) -> None:
        if before is not None:
            self._found.gone.append(before.select(["id", "place"]))

    def _listed(self) -> PartitionedTable:
        spill = self._run.new_spill("listed")
        for batch in read_catalogue(self._run.request.catalogue, self._run.request.policy):
            seen: Batch = scanning.with_versions(batch, self._run.request.policy)
            self._rejects.extend(seen.rejects)
            spill.add(seen.products, id_buckets(seen.products["id"].to_pylist()))
        return spill

    def _previous(self) -> PartitionedTable:
        try:
            return self._published()
        except (CorruptError, NotFoundError) as error:
            self._run.forget_parent(error)
            return self._run.new_spill("previous")

    def _published(self) -> PartitionedTable:
        spill = self._run.new_spill("previous")
        for number, shard in enumerate(self._run.parent.shards if self._run.parent else ()):
            for table, rows in read_shard_products(self._run.store, shard):
                places = pa.array(rows + number * ROWS_IN_A_SHARD)
                spill.add(table.append_column("place", places), id_buckets(table["id"].to_pylist()))
        return spill

    def _known(self) -> PartitionedTable:
        spill = self._run.new_spill("hashes")
        for number, key in enumerate(self._found.known):
            table = read_hashes(self._run.store, key)
            files = pa.array(np.full(table.num_rows, number))
            spill.add(table.append_column("file", files), id_buckets(table["id"].to_pylist()))
        return spill

    def _rejected(self) -> PartitionedTable:
        """What the run that made the published snapshot could not use: it need not be tried while it stays as it is."""
        spill = self._run.new_spill("rejected")
        if self._run.parent and self._run.parent.encoder.name == self._run.request.encoder:
            with suppress(NotFoundError):
                table = read_reject_table(self._run.store, f"rejects/{self._run.parent.run}.parquet")
                spill.add(table, id_buckets(table["id"].to_pylist()))
        return spill


def _take_hashes(run: Run, found: Found, products: pa.Table, hashes: Hashes, rejects: RejectLog) -> None:
    known = [None if isinstance(one, ImageRejectedError) else one for one in hashes]
    passing = [isinstance(one, ImageRejectedError) and one.reason in scanning.PASSING for one in hashes]
    hashed, unseen = scanning.as_published(scanning.with_hashes(products, known), passing)
    found.unseen += unseen
    usable = hashed["image_hash"].is_valid()
    _take(run, found, hashed.filter(usable))
    lost = hashed.filter(pc.invert(usable))
    if lost.num_rows:
        left = zip(hashes, hashed["image_hash"].is_null().to_pylist(), strict=True)
        errors = [one for one, is_lost in left if is_lost and isinstance(one, ImageRejectedError)]
        rejects.extend(_rejects(lost, errors))
        found.gone.append(were_there(lost))


def _take(run: Run, found: Found, products: pa.Table) -> None:
    if run.request.kind == "refresh":
        products = products.filter(pa.array(scanning.changes(products) != SAME))
    if products.num_rows:
        places = positions(hash_array(products["image_hash"]))
        found.products.add(products, scanning.hash_buckets(places))


def were_there(products: pa.Table) -> pa.Table:
    """Return the `id` and `place` of those that the published snapshot has."""
    return products.filter(pc.not_equal(products["place"], NOWHERE)).select(["id", "place"])


def _rejects(products: pa.Table, errors: list[ImageRejectedError]) -> Iterator[Reject]:
    columns = (products[name].to_pylist() for name in ("id", "image"))
    for product, reference, error in zip(*columns, errors, strict=True):
        # without its version: what could not be read may be there again without having changed
        yield Reject(product, reference, "read", error.reason, str(error))


def _killed_worker(products: pa.Table) -> Hashes:
    return [ImageRejectedError("killed_worker", KILLED)] * products.num_rows


def _each_once(products: pa.Table) -> pa.Table:
    """Return each picture once, sorted by its hash; of several references to it the first by name."""
    pictures = products.select(["image_hash", "image", "image_version"]).sort_by(
        [("image_hash", "ascending"), ("image", "ascending")]
    )
    hashes = hash_array(pictures["image_hash"])
    first = np.ones(len(hashes), bool)
    first[1:] = hashes[1:] != hashes[:-1]
    return pictures.filter(pa.array(first))


def _without(pictures: pa.Table, known: pa.Table | None) -> pa.Table:
    if known is None:
        return pictures
    there = pc.is_in(pictures["image_hash"], value_set=known["image_hash"].combine_chunks())
    return pictures.filter(pc.invert(there))
