"""Record: what a snapshot will hold, now that it is known which pictures have a vector, and what is different in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.normalised import LocalCatalogue
from lookalike.data.catalogue.rejects import RejectLog
from lookalike.data.errors import CatalogueError
from lookalike.data.partitioned import BUCKETS
from lookalike.data.snapshots.manifest import CatalogueSection
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.stage import stage
from lookalike.flows.stages.embed import Embeds, product_rejects
from lookalike.flows.stages.scan import Found, were_there
from lookalike.tasks import scan
from lookalike.tasks.scan import ADDED, PICTURE, TEXT

SAMPLES = 20


class Changes:
    """What is different from the published snapshot: counts, and the first few ids of each kind."""

    def __init__(self) -> None:
        self.counts = {ADDED: 0, PICTURE: 0, TEXT: 0}
        self.samples: dict[int, list[str]] = {ADDED: [], PICTURE: [], TEXT: []}
        self.removed = 0
        self.removed_sample: list[str] = []

    def add(self, products: pa.Table) -> None:
        """Count products."""
        kinds = scan.changes(products)
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


class Recorded:
    """What a run found, in its final form.

    Attributes:
        catalogue: of a reindex: all products, in local files, not stored yet.
        delta: of a refresh: the products that came or changed.
        dead: of a refresh: the places in the published snapshot of products that changed or are gone.
        pictures: how many distinct ones the products show.
    """

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.catalogue: LocalCatalogue | None = None
        self.delta: pa.Table | None = None
        self.dead = np.empty(0, np.int64)
        self.pictures = 0


@stage("record")
def record(run: Run, found: Found, embeds: Embeds) -> Recorded:
    """Leave out what has no vector; count what changed; write the normalised catalogue. Raises `CatalogueError`."""
    settling = _Settling(run, found, embeds)
    recorded = Recorded(settling.changes)
    folder = run.scratch_file("catalogue")
    folder.mkdir()
    if run.request.kind == "refresh":
        parts = list(settling.ranges())
        recorded.delta = pa.concat_tables([scan.without_findings(part) for part in parts]) if parts else None
        recorded.dead = _dead(parts, [*found.gone, *settling.lost])
    else:
        recorded.catalogue = LocalCatalogue(folder, map(scan.without_findings, settling.ranges()))
        if not recorded.catalogue.products:
            first = next(log.first[0] for log in run.rejects.values() if log.first)
            raise CatalogueError(f"no picture of {run.request.catalogue} could be used; the first one: {first.message}")
    recorded.pictures = settling.pictures
    for products in (*found.gone, *settling.lost):
        recorded.changes.remove(products)
    return recorded


@stage("store catalogue")
def store_catalogue(run: Run, recorded: Recorded) -> CatalogueSection:
    """Bring the normalised catalogue into the store, for the workers that build from it; return its description."""
    local = recorded.catalogue
    assert local is not None, "a refresh has no catalogue of its own"  # noqa: S101
    local.store(run.store)
    return CatalogueSection(
        id=local.id, uri=run.request.catalogue, products=local.products, attribution=run.attribution
    )


class _Settling:
    """The products that have a vector, a range of image hashes at a time."""

    def __init__(self, run: Run, found: Found, embeds: Embeds) -> None:
        self._found = found
        self._embeds = embeds
        self._rejects: RejectLog = run.new_rejects("embed")
        self.changes = Changes()
        self.lost: list[pa.Table] = []  # what the published snapshot has, and turned out unusable now
        self.pictures = 0

    def ranges(self) -> Iterator[pa.Table]:
        for bucket in range(BUCKETS):
            products = self._found.products.read(bucket)
            if products is not None:
                usable = self._usable(products, self._embeds.rejected.read(bucket))
                self.changes.add(usable)
                self.pictures += pc.count_distinct(usable["image_hash"]).as_py()
                if usable.num_rows:
                    yield usable

    def _usable(self, products: pa.Table, rejected: pa.Table | None) -> pa.Table:
        if rejected is None:
            return products
        bad = pc.is_in(products["image_hash"], value_set=rejected["image_hash"].combine_chunks())
        without = products.filter(bad)
        self._rejects.extend(product_rejects(without, rejected))
        self.lost.append(were_there(without))
        return products.filter(pc.invert(bad))


def _dead(parts: list[pa.Table], gone: list[pa.Table]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the places of what a refresh replaces, and of what is gone."""
    changed = [part["place"].filter(pc.not_equal(part["place"], scan.NOWHERE)) for part in parts]
    places = [np.asarray(column) for column in [*changed, *(table["place"] for table in gone)]]
    return np.concatenate([np.empty(0, np.int64), *places])
