"""Resolve: what a snapshot will hold, now that it is known which pictures have a vector."""

from __future__ import annotations

from lookalike.data.snapshots.manifest import CatalogueSection
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks import resolve
from lookalike.tasks.embed.work import EmbedResult
from lookalike.tasks.resolve import ResolvedCatalogue, ResolvedDelta
from lookalike.tasks.scan.scan import ScanResult


@stage("resolve")
def resolve_catalogue(run: Run, scanned: ScanResult, embedded: EmbedResult) -> ResolvedCatalogue:
    """Leave out what has no vector, count what changed, write the normalised catalogue. Raises `CatalogueError`."""
    folder = run.workspace.new_path("catalogue")
    folder.mkdir()
    rejects = run.new_rejects("embed")
    return resolve.resolve_catalogue(scanned, embedded, rejects=rejects, folder=folder, uri=run.request.shown_catalogue)


@stage("resolve")
def resolve_delta(run: Run, scanned: ScanResult, embedded: EmbedResult) -> ResolvedDelta:
    """Leave out what has no vector; return what came or changed, and what it replaces."""
    return resolve.resolve_delta(scanned, embedded, rejects=run.new_rejects("embed"))


@stage("store catalogue")
def store_catalogue(run: Run, resolved: ResolvedCatalogue, attribution: str) -> CatalogueSection:
    """Bring the normalised catalogue into the store, for the workers that build from it; return its description."""
    local = resolved.catalogue
    local.store(run.workspace.store)
    uri = run.request.shown_catalogue
    return CatalogueSection(id=local.id, uri=uri, products=local.products, attribution=attribution)
