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
from lookalike.data.partitioned import BUCKETS
from lookalike.tasks.embed.work import EmbedResult
from lookalike.tasks.scan import join
from lookalike.tasks.scan.join import ADDED, NOWHERE, PICTURE, TEXT, published_places
from lookalike.tasks.scan.scan import ScanResult

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
    """

    def __init__(self, changes: Changes, pictures: int, rejected: int) -> None:
        self.changes = changes
        self.pictures = pictures
        self.rejected = rejected


class ResolvedCatalogue(Resolved):
    """All products that a full build will hold: `catalogue`, in local files, not stored yet."""

    def __init__(self, catalogue: LocalCatalogue, changes: Changes, pictures: int, rejected: int) -> None:
        super().__init__(changes, pictures, rejected)
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
        self, products: pa.Table | None, dead: NDArray[np.int64], changes: Changes, pictures: int, rejected: int
    ) -> None:
        super().__init__(changes, pictures, rejected)
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
        rejects: takes the products without a vector.
        folder: for the files of the catalogue.
        uri: of the catalogue, for the message where nothing can be used.

    Raises:
        CatalogueError: no picture could be used.
    """
    resolver = _Resolver(scanned, embedded, rejects)
    catalogue = LocalCatalogue(folder, map(join.without_findings, resolver.usable_products()))
    if not catalogue.products:
        raise CatalogueError(f"no picture of {uri} could be used: {describe_rejects([scanned.rejects, rejects])}")
    return ResolvedCatalogue(catalogue, resolver.count_changes(), resolver.pictures, resolver.rejected())


def resolve_delta(scanned: ScanResult, embedded: EmbedResult, *, rejects: RejectLog) -> ResolvedDelta:
    """Return what came or changed and can be used, and the places of what it replaces; `rejects` takes the others."""
    resolver = _Resolver(scanned, embedded, rejects)
    parts = list(resolver.usable_products())
    products = pa.concat_tables([join.without_findings(part) for part in parts]) if parts else None
    dead = _dead_places(parts, resolver.gone())
    return ResolvedDelta(products, dead, resolver.count_changes(), resolver.pictures, resolver.rejected())


class _Resolver:
    """Leaves out the products without a vector, a range of image hashes at a time."""

    def __init__(self, scanned: ScanResult, embedded: EmbedResult, rejects: RejectLog) -> None:
        self._scanned = scanned
        self._embedded = embedded
        self._rejects = rejects
        self._changes = Changes()
        self._lost: list[pa.Table] = []  # what the published snapshot has, and turned out unusable now
        self.pictures = 0

    def usable_products(self) -> Iterator[pa.Table]:
        for bucket in range(BUCKETS):
            products = self._scanned.products.read(bucket)
            if products is not None:
                usable = self._leave_out_rejected(products, self._embedded.rejected.read(bucket))
                self._changes.add(usable)
                self.pictures += pc.count_distinct(usable["image_hash"]).as_py()
                if usable.num_rows:
                    yield usable

    def gone(self) -> list[pa.Table]:
        """Return `id` and `place` of what the published snapshot has and this one will not have."""
        return [*self._scanned.gone, *self._lost]

    def count_changes(self) -> Changes:
        """Return all changes, once all products were seen."""
        for products in self.gone():
            self._changes.remove(products)
        return self._changes

    def rejected(self) -> int:
        return self._scanned.rejects.total + self._rejects.total

    def _leave_out_rejected(self, products: pa.Table, rejected: pa.Table | None) -> pa.Table:
        if rejected is None:
            return products
        bad = pc.is_in(products["image_hash"], value_set=rejected["image_hash"].combine_chunks())
        without = products.filter(bad)
        self._rejects.extend(_as_rejections(without, rejected))
        self._lost.append(published_places(without))
        return products.filter(pc.invert(bad))


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
