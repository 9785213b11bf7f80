"""Scan: read a catalogue beside what the published snapshot has, and tell which pictures must be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.columns import parse_columns
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.normalised import list_hashes, read_hashes
from lookalike.data.catalogue.reader import VERSION, Batch, ReadOptions, read_catalogue
from lookalike.data.catalogue.references import find_key_spellings, find_spelling, forget_folders
from lookalike.data.catalogue.rejects import Reject, RejectLog, read_reject_table
from lookalike.data.embeddings import hash_array, positions
from lookalike.data.errors import CorruptError, ImageRejectedError, NotFoundError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.fetch.images import image_version
from lookalike.data.partitioned import BUCKETS, PartitionedTable, hash_buckets, id_buckets
from lookalike.data.snapshots.products import VIEWS, read_shard_products
from lookalike.data.stores import ObjectStore
from lookalike.tasks.published import Published
from lookalike.tasks.scan import join as joining
from lookalike.tasks.scan.join import ROWS_IN_A_SHARD, SAME, published_places
from lookalike.tasks.scan.several import (
    PLACE_IN_LIST,
    SeveralPictures,
    find_published,
    join_pictures,
    list_products,
    mark_single,
    split,
)

STAT_THREADS = 32  # a look at an object in S3 is one round trip, and most of it is waiting
STAT_CHUNK = 64
PASSING = frozenset({"unreachable", "unreadable"})  # why a picture cannot be looked at now, and may be in a minute

Hashes: TypeAlias = Sequence[bytes | ImageRejectedError]
"""The sha256 of each product's picture, or why it has none."""


class Progress(Protocol):
    """Who wants to know how far a scan is, in products."""

    def expect(self, total: int) -> None:
        """Take how many there are."""

    def advance(self, count: int) -> None:
        """Take how many more are done."""


@dataclass(frozen=True)
class ScanRequest:
    """What to scan, and how.

    Attributes:
        catalogue: its path or address.
        policy: what may be fetched.
        encoder: the name of the run's encoder: what another encoder rejected is tried again.
        full: read every picture again, also those that are known.
        only_changes: leave out products that are as they are published.
        columns: what people say of the catalogue's columns, as `parse_columns` reads it.
        encoding: how its text was saved, if people have said it.
    """

    catalogue: str
    policy: FetchPolicy
    encoder: str
    full: bool
    only_changes: bool
    columns: str | None = None
    encoding: str | None = None


class ScanResult:
    """What a scan found. A `CatalogueScan` fills it; afterwards it does not change.

    Attributes:
        published: what the run can build upon, now that the products of the published snapshot were read.
        products: what can be used, with the columns of `join.Joined`, by range of image hashes.
        gone: `id` and `place` of what the published snapshot has, and the catalogue has not, or no longer usable.
        rejects: products that cannot be used.
        listed: how many products the catalogue has.
        unseen: how many products stay as they are published, for their picture could not be looked at.
        hash_files: names of the files of hashes that earlier runs left.
        needed_files: those of them with a hash that a snapshot made of this scan would not hold.
        several: the pictures of products with several; None where the catalogue and the published snapshot have none.
        findings: what people should know of how the catalogue was read.
    """

    def __init__(
        self, published: Published, products: PartitionedTable, rejects: RejectLog, hash_files: Sequence[str]
    ) -> None:
        self.published = published
        self.products = products
        self.gone: list[pa.Table] = []
        self.rejects = rejects
        self.listed = 0
        self.unseen = 0
        self.hash_files = hash_files
        self.needed_files: set[str] = set()
        self.several: SeveralPictures | None = None
        self.findings = Findings()

    def superfluous_files(self) -> list[str]:
        """Return the names of the files of hashes that nobody needs once a snapshot of this scan is published."""
        return [key for key in self.hash_files if key not in self.needed_files]


class CatalogueScan:
    """One pass over a catalogue, a bucket of ids at a time, so that memory is for a bucket and not for a catalogue."""

    def __init__(
        self,
        store: ObjectStore,
        published: Published,
        request: ScanRequest,
        *,
        new_table: Callable[[str], PartitionedTable],
        rejects: RejectLog,
        progress: Progress,
    ) -> None:
        """Prepare a scan.

        Args:
            new_table: makes an empty partitioned table on this machine, with a name for people.
        """
        self._store = store
        self._request = request
        self._new_table = new_table
        self._rejects = rejects
        self._progress = progress
        self._listed_pictures: PartitionedTable | None = None
        self._unread_pictures: PartitionedTable | None = None
        self.result = ScanResult(published, new_table("products"), rejects, list_hashes(store))

    def unread(self) -> Iterator[pa.Table]:
        """Yield the products whose pictures must be read, to be given to `take_hashes`; take up all others.

        Afterwards `unread_pictures` yields those of products with several.
        """
        result, full = self.result, self._request.full
        listed = self._list()
        pictures = self._listed_pictures
        self._progress.expect(listed.rows + (pictures.rows if pictures else 0))
        previous = self._read_previous()
        if full:  # they are not looked at
            result.needed_files.update(result.hash_files)
        known, rejected = (None, None) if full else (self._read_known_hashes(), self._read_rejected())
        for bucket in range(BUCKETS):
            products, facts = listed.read(bucket), known.read(bucket) if known else None
            before, hopeless = previous.read(bucket), rejected.read(bucket) if rejected else None
            several = pictures.read(bucket) if pictures else None
            products, before, held = self._join_several(products, several, before, facts, hopeless)
            if products is not None:
                yield self._join(products, before, facts, hopeless, held)
                continue
            if before is not None:
                result.gone.append(before.select(["id", "place"]))
            self._note_needed_files(facts, held)

    def unread_pictures(self) -> Iterator[pa.Table]:
        """Yield the pictures that must be read of products with several, to be given to `take_hashes`, too."""
        if self._unread_pictures is not None:
            yield from self._unread_pictures.tables()

    def take_hashes(self, products: pa.Table, hashes: Hashes) -> None:
        """Take up products that `unread` yielded, with the hash of each one's picture, or why it has none."""
        known = [None if isinstance(one, ImageRejectedError) else one for one in hashes]
        passing = [isinstance(one, ImageRejectedError) and one.reason in PASSING for one in hashes]
        hashed, unseen = joining.as_published(joining.with_hashes(products, known), passing)
        self.result.unseen += unseen
        usable = hashed["image_hash"].is_valid()
        lost = hashed.filter(pc.invert(usable))
        if lost.num_rows:
            left = zip(hashes, hashed["image_hash"].is_null().to_pylist(), strict=True)
            errors = [one for one, is_lost in left if is_lost and isinstance(one, ImageRejectedError)]
            self._rejects.extend(_as_rejections(lost, errors))
        if self.result.several is not None and PLACE_IN_LIST in products.column_names:
            self.result.several.take(hashed.filter(usable))
            self.result.several.rejected += lost.num_rows
            return
        self._take(hashed.filter(usable))
        if lost.num_rows:
            self.result.gone.append(published_places(lost))

    def _take(self, products: pa.Table) -> None:
        if self._request.only_changes:
            products = products.filter(pa.array(joining.changes(products) != SAME))
        if products.num_rows:
            places = positions(hash_array(products["image_hash"]))
            self.result.products.add(products, hash_buckets(places))

    def _join(
        self,
        products: pa.Table,
        before: pa.Table | None,
        facts: pa.Table | None,
        rejected: pa.Table | None,
        held_of_several: AbstractSet[joining.Version],
    ) -> pa.Table:
        """Take up a bucket of products as far as their pictures are known; return the others."""
        known = [] if facts is None else [facts]
        joined = joining.join(products, before, known, rejected, trust=not self._request.full)
        self._rejects.extend(joined.rejects)
        self.result.gone.append(joined.gone)
        self.result.listed += joined.products.num_rows
        if facts is not None:
            held = joining.versions(products, among=facts)
            if self._request.only_changes and before is not None:
                # what is the same stays in its shard, with the version that it has there
                same = joined.products.filter(pa.array(joining.changes(joined.products) == SAME))
                held -= joining.versions(same, among=facts) - joining.versions(before, among=facts)
            self._note_needed_files(facts, held | held_of_several)
        resolved = joined.products["image_hash"].is_valid()
        self._take(joined.products.filter(resolved))
        unknown = joined.products.filter(pc.invert(resolved))
        self._progress.advance(products.num_rows - unknown.num_rows)
        return unknown

    def _join_several(
        self,
        products: pa.Table | None,
        pictures: pa.Table | None,
        before: pa.Table | None,
        facts: pa.Table | None,
        rejected: pa.Table | None,
    ) -> tuple[pa.Table | None, pa.Table | None, AbstractSet[joining.Version]]:
        """Take up a bucket of products with several pictures, now or in the published snapshot, as far as known.

        Return the other products of the bucket, those of the published snapshot, and which pictures a snapshot of this
        scan will hold.
        """
        published = find_published(before)
        has_views = before is not None and VIEWS in before.column_names
        plain = before.drop_columns([VIEWS]) if before is not None and has_views else before
        if products is not None and published:
            had_more = pc.is_in(products["id"], value_set=pa.array(sorted(published), pa.string()))
            some = mark_single(products.filter(had_more))
            products = products.filter(pc.invert(had_more))
            pictures = some if pictures is None else pa.concat_tables([some, pictures])
        if pictures is None or not pictures.num_rows:
            return products, plain, frozenset()
        several = self.result.several = self.result.several or SeveralPictures(self._new_table)
        others = [] if products is None else products["id"].to_pylist()
        known = [] if facts is None else [facts]
        joined, duplicates, lost = join_pictures(
            pictures, before, known, rejected, others, trust=not self._request.full
        )
        self._rejects.extend([*duplicates, *lost])
        several.rejected += len(lost)
        named = list_products(joined)
        several.products.append(named)
        several.listed += named.num_rows
        self.result.listed += named.num_rows
        resolved = joined["image_hash"].is_valid()
        several.take(joined.filter(resolved))
        unknown = joined.filter(pc.invert(resolved))
        self._progress.advance(pictures.num_rows - unknown.num_rows)
        if unknown.num_rows:
            self._unread_pictures = self._unread_pictures or self._new_table("unread")
            self._unread_pictures.add(unknown, id_buckets(unknown["id"].to_pylist()))
        if plain is not None:
            plain = plain.filter(pc.invert(pc.is_in(plain["id"], value_set=named["id"].combine_chunks())))
        is_kept = facts is not None and not self._request.only_changes  # what is the same stays in its shard
        return products, plain, joining.versions(joined, among=facts) if is_kept else frozenset()

    def _note_needed_files(self, facts: pa.Table | None, held: AbstractSet[joining.Version] = frozenset()) -> None:
        """Note the files of hashes that are needed: those with one that a snapshot of this scan would not hold."""
        if facts is not None:
            rows = zip(facts["file"].to_pylist(), joining.version_rows(facts), strict=True)
            self.result.needed_files.update(self.result.hash_files[file] for file, row in rows if row not in held)

    def _list(self) -> PartitionedTable:
        listed, request, findings = self._new_table("listed"), self._request, self.result.findings
        options = ReadOptions(request.policy, parse_columns(request.columns), request.encoding, self._store.uri)
        forget_folders()
        count = 0
        for batch in read_catalogue(request.catalogue, options=options, findings=findings):
            self._rejects.extend(batch.lost)
            singles, pictures = split(batch, count)
            count += batch.products.num_rows
            seen = with_versions(singles, request.policy, findings)
            self._rejects.extend(seen.rejects)
            listed.add(seen.products, id_buckets(seen.products["id"].to_pylist()))
            if pictures is not None:
                self._list_pictures(with_versions(pictures, request.policy, findings))
        return listed

    def _list_pictures(self, seen: Batch) -> None:
        several = self.result.several = self.result.several or SeveralPictures(self._new_table)
        self._listed_pictures = self._listed_pictures or self._new_table("listed-pictures")
        self._rejects.extend(seen.rejects)
        several.rejected += len(seen.rejects)
        self._listed_pictures.add(seen.products, id_buckets(seen.products["id"].to_pylist()))

    def _read_previous(self) -> PartitionedTable:
        """Return the products of the published snapshot; none where they cannot be read: then all are new."""
        try:
            return self._read_published_products()
        except (CorruptError, NotFoundError) as error:
            self.result.published = self.result.published.without_manifest(str(error))
            return self._new_table("previous")

    def _read_published_products(self) -> PartitionedTable:
        previous, manifest = self._new_table("previous"), self.result.published.manifest
        for number, shard in enumerate(manifest.shards if manifest else ()):
            for table, rows in read_shard_products(self._store, shard):
                places = pa.array(rows + number * ROWS_IN_A_SHARD)
                previous.add(table.append_column("place", places), id_buckets(table["id"].to_pylist()))
        return previous

    def _read_known_hashes(self) -> PartitionedTable:
        known = self._new_table("hashes")
        for number, key in enumerate(self.result.hash_files):
            table = read_hashes(self._store, key)
            files = pa.array(np.full(table.num_rows, number))
            known.add(table.append_column("file", files), id_buckets(table["id"].to_pylist()))
        return known

    def _read_rejected(self) -> PartitionedTable:
        """Return what the run of the published snapshot could not use: it need not be tried while it does not move."""
        rejected, manifest = self._new_table("rejected"), self.result.published.manifest
        if manifest and manifest.encoder.name == self._request.encoder:
            with suppress(NotFoundError):
                table = read_reject_table(self._store, f"rejects/{manifest.run}.parquet")
                rejected.add(table, id_buckets(table["id"].to_pylist()))
        return rejected


def with_versions(batch: Batch, policy: FetchPolicy, findings: Findings | None = None) -> Batch:
    """Return a batch with each picture's version, without reading pictures; those that are away are rejects.

    A picture that is there under another spelling of its name gets that as its reference.

    Those that cannot be looked at for a passing reason have no version: whoever reads them may have more luck.
    """
    if not batch.products[VERSION].null_count:
        return batch
    references = batch.products["image"].to_pylist()
    chunks = [references[start : start + STAT_CHUNK] for start in range(0, len(references), STAT_CHUNK)]
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        found = [one for chunk in pool.map(lambda part: _versions(part, policy), chunks) for one in chunk]
    rejects = [
        Reject(product, reference, "scan", problem.reason, str(problem))
        for product, reference, (_, problem) in zip(batch.products["id"].to_pylist(), references, found, strict=True)
        if _is_away(problem)
    ]
    products = batch.products
    for asked, (there, _) in zip(references, found, strict=True):
        if findings is not None and asked != there:
            findings.note("pictures found under another spelling of their names", 1, _name_both(asked, there))
    versions = [None if isinstance(version, ImageRejectedError) else version for _, version in found]
    for name, values in (("image", [there for there, _ in found]), (VERSION, versions)):
        products = products.set_column(products.schema.get_field_index(name), name, pa.array(values, pa.string()))
    if rejects:
        present = [not _is_away(problem) for _, problem in found]
        products = products.filter(pa.array(present, pa.bool_()))
    return Batch(products, [*batch.rejects, *rejects])


def _name_both(asked: str, there: str) -> str:
    """Return where two references differ."""
    same = next((place for place, (one, other) in enumerate(zip(asked, there, strict=False)) if one != other), 0)
    start = asked.rfind("/", 0, same) + 1
    return f"{asked[start:]} is {there[start:]}"


def _is_away(found: str | ImageRejectedError | None) -> TypeGuard[ImageRejectedError]:
    return isinstance(found, ImageRejectedError) and found.reason not in PASSING


_Seen: TypeAlias = tuple[str, str | ImageRejectedError | None]  # a picture's reference, and its version


def _versions(references: Sequence[str], policy: FetchPolicy) -> list[_Seen]:
    return [_find_version(reference, policy) for reference in references]


def _find_version(reference: str, policy: FetchPolicy) -> _Seen:
    version = _version(reference, policy)
    if isinstance(version, ImageRejectedError) and version.reason == "missing":
        for spelling in _spellings(reference):
            found = _version(spelling, policy)
            if not isinstance(found, ImageRejectedError):
                return spelling, found
    return reference, version


def _spellings(reference: str) -> Sequence[str]:
    """Return where a picture may be that is not where it is said to be."""
    if reference.startswith("s3://"):
        return find_key_spellings(reference)
    found = find_spelling(reference) if reference.startswith("/") else None
    return [] if found is None else [found]


def _version(reference: str, policy: FetchPolicy) -> str | ImageRejectedError | None:
    try:
        return image_version(reference, policy=policy)
    except ImageRejectedError as error:
        return error


def _as_rejections(products: pa.Table, errors: Sequence[ImageRejectedError]) -> Iterator[Reject]:
    columns = (products[name].to_pylist() for name in ("id", "image"))
    for product, reference, error in zip(*columns, errors, strict=True):
        # without its version: what could not be read may be there again without having changed
        yield Reject(product, reference, "read", error.reason, str(error))
