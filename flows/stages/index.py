"""Plan, train, build and evaluate: the index, and how good it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache, partial

import pyarrow as pa

from lookalike.data.errors import CorruptError, NotFoundError, RunTimeoutError
from lookalike.data.reports import recent_reports
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import CatalogueSection, EncoderSection, Manifest
from lookalike.flows.runtime.partitions import Partition, gather, map_partitions
from lookalike.flows.runtime.progress import run_log, stage_progress
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.build import jobs as building
from lookalike.tasks.build import planner
from lookalike.tasks.build.jobs import Measurement, SampleQueries, Shard, Source, TrainedParts
from lookalike.tasks.build.planner import OperatingPoint, Plan, Wish
from lookalike.tasks.build.train import choose_sample_size
from lookalike.tasks.embed import distorted as distorting

DISTORT_SECONDS = 600.0  # what is embedded by then is learnt from


@stage("plan")
def plan(
    run: Run, parent: Manifest | None, catalogue: CatalogueSection, pictures: int, encoder: EncoderSection
) -> Plan:
    """Choose the index; for a large catalogue from what each kind reaches on a sample. Raises `InputError`."""
    distort = cache(partial(_embed_distorted, run, catalogue, pictures, encoder))
    chosen = planner.plan(
        catalogue.products,
        encoder.dimension,
        encoder.fingerprint,
        shards=run.request.shards,
        parent=_trained_before(run, parent),
        pictures=pictures,
        refused_recall=_refused_recall(run),
        wish=Wish(run.request.limits.min_recall, run.request.index_bytes, run.request.index_dimensions),
        measure=lambda outputs: _measure_operating_points(run, catalogue, pictures, encoder, outputs, distort()),
        distort=distort,
    )
    run_log(__name__).info("plan: %s in %s shard(s): %s", chosen.key, chosen.shards, chosen.reason)
    return chosen


def _trained_before(run: Run, parent: Manifest | None) -> Manifest | None:
    """Return the snapshot whose training may be used again."""
    if run.request.full or parent is None:
        return None
    try:
        for blob in TrainedParts.of(parent).blobs:
            blobs.check(run.workspace.store, blob)
    except (CorruptError, NotFoundError) as error:
        run_log(__name__).warning(
            "plan: what the published snapshot learnt is not whole, it is learnt again: %s", error
        )
        return None
    return parent


def _refused_recall(run: Run) -> float | None:
    """Return the recall@10 of the channel's last run that measured it, where its snapshot was refused."""
    reports = recent_reports(run.workspace.store, run.request.channel, 5)
    newest = next((report for report in reports if report.recall_at_10 is not None), None)
    return newest.recall_at_10 if newest and newest.state == "refused" else None


def _embed_distorted(
    run: Run, catalogue: CatalogueSection, pictures: int, encoder: EncoderSection
) -> tuple[bytes, ...]:
    """Embed distorted copies of some pictures, as far as these can be read in time; return the pictures that have them.

    Where they are too few, none are returned, and the report says so.
    """
    wanted = distorting.count_distorted(pictures, run.request.settings.distorted_pictures)
    if not wanted:
        return ()
    store, log = run.workspace.store, run_log(__name__)
    chosen = run.workspace.on_worker(
        distorting.choose_pictures, run.request.store, catalogue.id, catalogue.products, wanted
    )
    known = distorting.find_distorted(store, encoder, chosen)
    _embed_copies(run, chosen.filter(pa.array(~known)), encoder)
    done = chosen.filter(pa.array(distorting.find_distorted(store, encoder, chosen)))["image_hash"].to_pylist()
    if len(done) < min(distorting.FEWEST, wanted):
        note = (
            f"the projection is learnt without distorted copies: of {wanted} pictures, {len(done)} could be read again "
            "to make some; `reindex --full` learns it again"
        )
        log.warning("plan: %s", note)
        run.journal.note(note)
        return ()
    log.info("plan: %s of %s pictures have distorted copies, %s had them before", len(done), wanted, int(known.sum()))
    return tuple(done)


def _embed_copies(run: Run, pictures: pa.Table, encoder: EncoderSection) -> None:
    request, cluster, settings = run.request, run.workspace.cluster, run.request.settings
    until = time.monotonic() + DISTORT_SECONDS
    parts = map_partitions(
        cluster,
        partial(
            distorting.embed_distorted,
            store=request.store,
            encoder=encoder,
            policy=request.policy,
            threads=cluster.threads,
            device=settings.embed_device,
        ),
        (Partition(f"distort-{number}", part) for number, part in enumerate(distorting.cut_partitions(pictures))),
        on_poison=distorting.leave_out,
        columns=("image_hash", "image"),
        deadline=min(until, run.workspace.deadline),
        resources=settings.embed_resources(),
    )
    with stage_progress("distort") as progress:
        progress.expect(pictures.num_rows)
        try:
            for partition, _ in parts:
                progress.advance(partition.rows.num_rows)
        except RunTimeoutError:
            if time.monotonic() > run.workspace.deadline:
                raise
            run_log(__name__).warning("plan: distorted copies are embedded for no longer than %.0f s", DISTORT_SECONDS)


def _measure_operating_points(
    run: Run,
    catalogue: CatalogueSection,
    pictures: int,
    encoder: EncoderSection,
    outputs: int | None,
    distorted: tuple[bytes, ...],
) -> Sequence[OperatingPoint]:
    points: Sequence[OperatingPoint] = run.workspace.on_worker(
        building.measure_operating_points,
        run.request.store,
        catalogue.id,
        catalogue.products,
        pictures,
        encoder,
        outputs,
        run.request.limits.min_recall,
        distorted=distorted,
        threads=run.workspace.cluster.threads_of(1),
    )
    for point in points:
        run_log(__name__).info(
            "plan: %s on %s vectors: recall@10 %.3f, %.2f ms, %.0f bytes a vector (%s)",
            point.kind,
            f"{point.sample:,}",
            point.recall,
            point.query_ms,
            point.bytes_per_vector,
            point.parameters,
        )
    return points


@stage("train")
def train(run: Run, parent: Manifest | None, source: Source) -> TrainedParts:
    """Learn what all shards share, once, on one worker; or take it from the last snapshot."""
    if source.plan.keep_trained and parent:
        return TrainedParts.of(parent)
    trained = run.workspace.on_worker(building.train_index, source, threads=run.workspace.cluster.threads_of(1))
    run_log(__name__).info(
        "train: done on %s pictures", f"{min(source.plan.pictures, choose_sample_size(source.plan)):,}"
    )
    return trained


@stage("build")
def build(run: Run, source: Source, trained: TrainedParts) -> tuple[SampleQueries, list[Shard]]:
    """Build each shard on its own worker, with exact answers to sample queries; return queries and shards."""
    cluster = run.workspace.cluster
    client, threads = cluster.client, cluster.threads_of(source.plan.shards)
    queries = client.submit(building.sample_queries, source, trained, pure=False)
    futures = [
        client.submit(building.build_shard, source, shard, queries, trained, threads=threads, pure=False)
        for shard in range(source.plan.shards)
    ]
    with stage_progress("build", "shards") as progress:
        progress.expect(len(futures))
        built = gather(cluster, futures, run.workspace.deadline, progress.advance)
    shards: list[Shard] = [shard for shard in built if shard is not None]
    run_log(__name__).info("build: %s shard(s), %s vectors", len(shards), f"{sum(s.section.count for s in shards):,}")
    return queries.result(), shards


@stage("evaluate")
def evaluate(run: Run, chosen: Plan, queries: SampleQueries, shards: Sequence[Shard]) -> Measurement:
    """Measure recall@10 with the search code that serves, against the exact answers of all shards."""
    measured = run.workspace.on_worker(
        building.evaluate_index,
        run.request.store,
        shards,
        chosen.dimension,
        queries,
        run.request.limits.min_recall,
        threads=run.workspace.cluster.threads_of(1),
    )
    run_log(__name__).info(
        "evaluate: recall@10 %.3f, %.2f ms a query (%s)",
        measured.recall,
        1000 * measured.seconds,
        measured.parameters,
    )
    return measured
