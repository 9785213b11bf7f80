"""Resolve: what a snapshot will hold, now that it is known which pictures have a vector, and what differs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import LocalCatalogue
from lookalike.data.catalogue.rejects import Reject, RejectLog, describe_rejects
from lookalike.data.errors import CatalogueError
from lookalike.data.partitioned import BUCKETS, PartitionedTable
from lookalike.data.snapshots.products import VIEWS, with_views
from lookalike.tasks.embed.work import EmbedResult
from lookalike.tasks.scan import join
from lookalike.tasks.scan.join import ADDED, NOWHERE, PICTURE, TEXT, published_places
from lookalike.tasks.scan.scan import ScanResult
from lookalike.tasks.scan.several import SeveralPictures, assemble, scatter_by_id

SAMPLES = 20


class Changes:
    """What is different from the published snapshot: counts, and the first few ids of each kind."""

    def __init__(self) -> None:
        self.counts = {ADDED: 0, PICTURE: 0, TEXT: 0}
        self.samples: dict[int, list[str]] = {ADDED: [], PICTURE: [], TEXT: []}
        self.removed = 0
        self.removed_sample: list[str] = []

    def add(self, products: pa.Table) -> None:
        """Count products that are there."""
        kinds = join.changes(products)
        for kind, sample in self.samples.items():
            rows = np.flatnonzero(kinds == kind)
            self.counts[kind] += len(rows)
            wanted = rows[: SAMPLES - len(sample)]
            sample.extend(products["id"].take(pa.array(wanted, pa.int64())).to_pylist())

    def remove(self, products: pa.Table) -> None:
        """Count products that are gone."""
        self.removed += products.num_rows
        self.removed_sample.extend(products["id"].slice(0, SAMPLES - len(self.removed_sample)).to_pylist())

    @property
    def total(self) -> int:
        """How many products differ."""
        return sum(self.counts.values()) + self.removed


class Resolved:
    """What is the same of a full build and of a delta.

    Attributes:
        changes: what is different from the published snapshot.
        pictures: how many distinct ones the products show.
        rejected: how many products of the catalogue cannot be used.
        lost_pictures: how many pictures cannot be used, of products that have others.
    """

    def __init__(self, changes: Changes, pictures: int, rejected: int, lost_pictures: int = 0) -> None:
        self.changes = changes
        self.pictures = pictures
        self.rejected = rejected
        self.lost_pictures = lost_pictures


class ResolvedCatalogue(Resolved):
    """All products that a full build will hold: `catalogue`, in local files, not stored yet."""

    def __init__(
        self, catalogue: LocalCatalogue, changes: Changes, pictures: int, rejected: int, lost_pictures: int = 0
    ) -> None:
        super().__init__(changes, pictures, rejected, lost_pictures)
        self.catalogue = catalogue

    def tables(self) -> Iterator[pa.Table]:
        """Yield the products, some thousand at a time."""
        return self.catalogue.tables()


class ResolvedDelta(Resolved):
    """What a refresh changes.

    Attributes:
        products: those that came or changed; None where there are none.
        dead: the places in the published snapshot of products that changed or are gone.
    """

    def __init__(
        self,
        products: pa.Table | None,
        dead: NDArray[np.int64],
        changes: Changes,
        pictures: int,
        rejected: int,
        lost_pictures: int = 0,
    ) -> None:
        super().__init__(changes, pictures, rejected, lost_pictures)
        self.products = products
        self.dead = dead

    def tables(self) -> Iterator[pa.Table]:
        """Yield the products."""
        if self.products is not None:
            yield self.products


def resolve_catalogue(
    scanned: ScanResult, embedded: EmbedResult, *, rejects: RejectLog, folder: Path, uri: str
) -> ResolvedCatalogue:
    """Write the normalised catalogue of all products that can be used.

    Args:
        rejects: takes the products and pictures without a vector.
        folder: for the files of the catalogue.
        uri: of the catalogue, for the message where nothing can be used.

    Raises:
        CatalogueError: no picture could be used.
    """
    resolver = _Resolver(scanned, embedded, rejects, only_changes=False)
    catalogue = LocalCatalogue(folder, map(join.without_findings, resolver.usable_products()))
    if not catalogue.products:
        raise CatalogueError(f"no picture of {uri} could be used: {describe_rejects([scanned.rejects, rejects])}")
    return ResolvedCatalogue(catalogue, *resolver.summarise())


def resolve_delta(scanned: ScanResult, embedded: EmbedResult, *, rejects: RejectLog) -> ResolvedDelta:
    """Return what came or changed and can be used, and the places of what it replaces; `rejects` takes the others."""
    resolver = _Resolver(scanned, embedded, rejects, only_changes=True)
    parts = list(resolver.usable_products())
    products = pa.concat_tables([join.without_findings(part) for part in parts]) if parts else None
    return ResolvedDelta(products, _dead_places(parts, resolver.gone()), *resolver.summarise())


class _Resolver:
    """Leaves out the products without a vector, a range of image hashes at a time."""

    def __init__(self, scanned: ScanResult, embedded: EmbedResult, rejects: RejectLog, *, only_changes: bool) -> None:
        self._scanned = scanned
        self._embedded = embedded
        self._rejects = rejects
        self._changes = Changes()
        self._lost: list[pa.Table] = []  # what the published snapshot has, and turned out unusable now
        self._pictures = 0
        self._lost_pictures = 0
        self._several = self._assemble(scanned.several, only_changes=only_changes) if scanned.several else None
        self._has_views = self._several is not None and any(
            pc.any(pc.greater(pc.list_value_length(table[VIEWS]), 0)).as_py() for table in self._several.tables()
        )

    def usable_products(self) -> Iterator[pa.Table]:
        for bucket in range(BUCKETS):
            products = self._scanned.products.read(bucket)
            rejected = self._embedded.rejected.read(bucket)
            usable = [] if products is None else [self._leave_out_rejected(products, rejected)]
            if usable and self._has_views:
                usable = [with_views(usable[0])]
            several = self._several.read(bucket) if self._several else None
            if several is not None:
                usable.append(several if self._has_views else several.drop_columns([VIEWS]))
            if not usable:
                continue
            together = pa.concat_tables([table.select(usable[0].column_names) for table in usable])
            self._changes.add(together)
            self._pictures += pc.count_distinct(together["image_hash"]).as_py()
            if together.num_rows:
                yield together

    def gone(self) -> list[pa.Table]:
        """Return `id` and `place` of what the published snapshot has and this one will not have."""
        return [*self._scanned.gone, *self._lost]

    def summarise(self) -> tuple[Changes, int, int, int]:
        """Return changes, pictures, rejected products and lost pictures, once all products were seen."""
        for products in self.gone():
            self._changes.remove(products)
        rejected = self._scanned.rejects.total + self._rejects.total - self._lost_pictures
        return self._changes, self._pictures, rejected, self._lost_pictures

    def _assemble(self, several: SeveralPictures, *, only_changes: bool) -> PartitionedTable:
        """Put the products with several pictures together of those that have a vector."""
        usable = scatter_by_id(self._find_usable(several), several.new_table("usable"))
        made, there, repeated = assemble(usable, several.new_table, only_changes=only_changes)
        if repeated:
            self._scanned.findings.note(
                "pictures that are the same as another one of their product, left out", repeated
            )
        without = 0
        for named in several.products:
            lost = named.filter(pc.invert(pc.is_in(named["id"], value_set=pa.array(sorted(there), pa.string()))))
            without += lost.num_rows
            self._lost.append(published_places(lost))
        self._lost_pictures += several.rejected - without
        return made

    def _find_usable(self, several: SeveralPictures) -> Iterator[pa.Table]:
        for bucket in range(BUCKETS):
            pictures = several.rows.read(bucket)
            if pictures is not None:
                usable, without = self._split_rejected(pictures, self._embedded.rejected.read(bucket))
                self._lost_pictures += without.num_rows
                if usable.num_rows:
                    yield usable

    def _leave_out_rejected(self, products: pa.Table, rejected: pa.Table | None) -> pa.Table:
        usable, without = self._split_rejected(products, rejected)
        self._lost.append(published_places(without))
        return usable

    def _split_rejected(self, rows: pa.Table, rejected: pa.Table | None) -> tuple[pa.Table, pa.Table]:
        """Return the rows whose picture has a vector, and the others, which are rejects."""
        if rejected is None:
            return rows, rows.slice(0, 0)
        bad = pc.is_in(rows["image_hash"], value_set=rejected["image_hash"].combine_chunks())
        without = rows.filter(bad)
        self._rejects.extend(_as_rejections(without, rejected))
        return rows.filter(pc.invert(bad)), without


def _as_rejections(products: pa.Table, rejected: pa.Table) -> Iterator[Reject]:
    """Yield a reject for each product that shows a picture without a vector."""
    found = {row["image_hash"]: row for row in rejected.to_pylist()}
    columns = (products[name].to_pylist() for name in ("id", "image", "image_version", "image_hash"))
    for product, reference, version, image_hash in zip(*columns, strict=True):
        row = found[image_hash]
        lasting = version or "" if row["stage"] == "decode" else ""  # another reading or encoding may go better
        yield Reject(product, reference, row["stage"], row["reason"], row["message"], lasting)


def _dead_places(parts: list[pa.Table], gone: list[pa.Table]) -> NDArray[np.int64]:
    """Return the places of what a refresh replaces, and of what is gone."""
    changed = [part["place"].filter(pc.not_equal(part["place"], NOWHERE)) for part in parts]
    places = [np.asarray(column) for column in [*changed, *(table["place"] for table in gone)]]
    return np.concatenate([np.empty(0, np.int64), *places])
