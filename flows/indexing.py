"""Plan, train, build and evaluate: the index, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from prefect.logging import get_run_logger

from data.manifest import EncoderSection
from flows.run import Run
from flows.stage import stage
from tasks import partitions
from tasks.indexing import planning
from tasks.indexing.building import Neighbours
from tasks.indexing.evaluating import EXACT_DEPTH
from tasks.indexing.planning import Plan
from tasks.indexing.projection import Vectors
from tasks.indexing.searching import merge
from tasks.partitions import Measured, Shard, Trained


@stage("plan")
def plan(run: Run, products: int, encoder: EncoderSection) -> Plan:
    """Choose the index."""
    chosen = planning.plan(
        products,
        encoder.dimension,
        encoder.fingerprint,
        shards=run.request.shards,
        parent=None if run.request.full else run.parent,
    )
    get_run_logger().info("plan: %s in %s shard(s): %s", chosen.key, chosen.shards, chosen.reason)
    return chosen


@stage("train")
def train(run: Run, catalogue: str, encoder: EncoderSection, chosen: Plan) -> Trained:
    """Learn what all shards share, once, on one worker; or take it from the last snapshot."""
    if chosen.keep_trained and run.parent:
        return Trained(run.parent.index.projection, run.parent.index.trained)
    trained: Trained = run.client.submit(
        partitions.train_index,
        run.request.store,
        catalogue,
        encoder.fingerprint,
        chosen,
        threads=run.threads,
        pure=False,
    ).result()
    get_run_logger().info("train: done on %s products", f"{min(chosen.products, planning.TRAINING_SAMPLE):,}")
    return trained


@stage("build")
def build(
    run: Run, catalogue: str, encoder: EncoderSection, chosen: Plan, trained: Trained
) -> tuple[Vectors, list[Shard]]:
    """Build each shard on its own worker, with exact answers to sample queries; return queries and shards."""
    where = (run.request.store, catalogue, encoder.fingerprint, chosen)
    queries = run.client.submit(partitions.sample_queries, *where, trained.projection, pure=False)
    futures = [
        run.client.submit(partitions.build_shard, *where, shard, queries, trained, threads=run.threads, pure=False)
        for shard in range(chosen.shards)
    ]
    shards: list[Shard] = [shard for shard in run.client.gather(futures) if shard is not None]
    get_run_logger().info("build: %s shard(s), %s vectors", len(shards), f"{sum(s.section.count for s in shards):,}")
    return queries.result(), shards


@stage("evaluate")
def evaluate(run: Run, chosen: Plan, queries: Vectors, shards: Sequence[Shard]) -> Measured:
    """Measure recall@10 with the search code that serves, against the exact answers of all shards."""
    measured: Measured = run.client.submit(
        partitions.evaluate_index,
        run.request.store,
        [shard.section for shard in shards],
        chosen.dimension,
        queries,
        exact_answers(shards),
        run.request.limits.min_recall,
        pure=False,
    ).result()
    get_run_logger().info(
        "evaluate: recall@10 %.3f, %.2f ms a query, nprobe %s",
        measured.recall,
        1000 * measured.seconds,
        measured.nprobe or "-",
    )
    return measured


def exact_answers(shards: Sequence[Shard]) -> Neighbours:
    """Return the exact answers over all shards, from those of each."""
    starts = np.cumsum([0, *(shard.section.count for shard in shards)])
    parts = [
        Neighbours(shard.exact.scores, shard.exact.rows + start)
        for shard, start in zip(shards, starts[:-1], strict=True)
    ]
    return merge(parts, EXACT_DEPTH)
