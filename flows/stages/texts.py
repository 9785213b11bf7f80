"""Texts: vectors for the titles of products, and the index of them beside that of their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain

from lookalike.data.errors import EncoderError
from lookalike.data.snapshots.manifest import TEXT, Manifest, ShardSection, SpaceSection
from lookalike.flows.runtime.partitions import Partition, gather, map_partitions
from lookalike.flows.runtime.progress import run_log, stage_progress
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.build import texts as building
from lookalike.tasks.build.texts import BuiltTexts, TextChoice
from lookalike.tasks.build.tower import evaluate_tower
from lookalike.tasks.embed.texts import embed_texts, find_texts_to_embed, give_up_text
from lookalike.tasks.encoders.texts.content import DEFAULT_FIELDS, parse_fields
from lookalike.tasks.encoders.texts.stored import store_text_encoder

NONE = "none"


@stage("text encoder")
def choose(run: Run, parent: Manifest | None) -> TextChoice | None:
    """Bring the encoder of texts into the store: the one that was asked for, else that of the last snapshot, if any."""
    before = parent.text if parent else None
    name = run.request.text_encoder or (before.encoder.name if before else NONE)
    if name == NONE:
        return None
    fields = parse_fields(run.request.text_fields) or (before.fields if before else DEFAULT_FIELDS)
    try:
        encoder = store_text_encoder(run.workspace.store, name)
    except EncoderError as error:
        if before is None or name != before.encoder.name:
            raise
        # the store has all that it takes to encode with it
        run_log(__name__).info("text encoder: as in the last snapshot, for here it cannot be found: %s", error)
        encoder = before.encoder
    run_log(__name__).info("text encoder: %s, fingerprint %s, of %s", name, encoder.fingerprint, ", ".join(fields))
    return TextChoice(encoder, fields)


@stage("embed texts")
def embed(run: Run, choice: TextChoice | None, shards: Sequence[ShardSection]) -> None:
    """Encode the texts of the products in some shards that have no vector yet, on Dask."""
    if choice is None:
        return
    workspace = run.workspace
    tables = chain.from_iterable(building.read_shard_texts(workspace.store, shard) for shard in shards)
    to_embed = find_texts_to_embed(tables, choice.fields, workspace.embeddings(choice.encoder), workspace.new_table)
    run_log(__name__).info(
        "embed texts: %s texts to encode, %s have their vector", f"{to_embed.count:,}", f"{to_embed.known:,}"
    )
    if not to_embed.count:
        return
    cluster, store, encoder = workspace.cluster, run.request.store, choice.encoder
    parts = to_embed.cut_partitions(cluster.worker_count())
    with stage_progress("embed-texts", "texts") as progress:
        progress.expect(to_embed.count)
        for partition, _ in map_partitions(
            cluster,
            partial(embed_texts, store=store, encoder=encoder, threads=cluster.threads),
            (Partition(f"texts-{number}", part) for number, part in enumerate(parts)),
            on_poison=partial(give_up_text, store=store, encoder=encoder),
            columns=("text_hash", "text"),
            deadline=workspace.deadline,
        ):
            progress.advance(partition.rows.num_rows)


@stage("build texts")
def build(
    run: Run, choice: TextChoice | None, parent: Manifest | None, shards: Sequence[ShardSection]
) -> BuiltTexts | None:
    """Build the texts' index, a part for each shard, and measure it; None where no product has a text."""
    if choice is None:
        return None
    workspace, store = run.workspace, run.request.store
    before = None if run.request.full or parent is None else parent.text
    threads = workspace.cluster.threads_of(1)
    plan = workspace.on_worker(building.plan_texts, store, choice, shards, before, threads=threads)
    parts = _build_parts(run, choice, plan, shards) if plan else [None] * len(shards)
    built = building.with_text_parts(shards, parts)
    if plan is None or not any(parts):
        run_log(__name__).warning("build texts: no product has a text, so nothing is found by what it means")
        return None
    measured = workspace.on_worker(
        building.evaluate_texts, store, choice, built, run.request.limits.min_recall, threads=threads
    )
    run_log(__name__).info(
        "build texts: %s, recall@10 %.3f, %.2f ms a query", plan.reason, measured.recall, 1000 * measured.seconds
    )
    return BuiltTexts(building.describe_text_space(choice, plan, measured), built, measured)


@stage("text tower")
def measure_tower(
    run: Run, space: SpaceSection, shards: Sequence[ShardSection]
) -> tuple[SpaceSection, Mapping[str, float]]:
    """Measure how texts find pictures, where the encoder can do that; return the space as it is searched for both."""
    if space.encoder.text is None:
        return space, {}
    measured = run.workspace.on_worker(
        evaluate_tower,
        *(run.request.store, space, shards, run.request.limits.min_recall),
        threads=run.workspace.cluster.threads_of(1),
    )
    shown = ", ".join(f"{name} {figure:.3f}" for name, figure in measured.figures.items())
    run_log(__name__).info("text tower: %s", shown)
    return space.model_copy(update={"index": measured.index}), measured.figures


@stage("build texts")
def extend(run: Run, choice: TextChoice | None, parent: Manifest, shards: Sequence[ShardSection]) -> BuiltTexts | None:
    """Give the delta of a refresh its part of the texts, where the parent has them."""
    if choice is None or parent.text is None:
        return None
    parts = [
        building.build_delta_part(run.request.store, choice, shard) if shard.delta else shard.spaces.get(TEXT)
        for shard in shards
    ]
    return BuiltTexts.of_refresh(parent, building.with_text_parts(shards, parts))


def _build_parts(
    run: Run, choice: TextChoice, plan: building.TextPlan, shards: Sequence[ShardSection]
) -> list[building.Part]:
    cluster = run.workspace.cluster
    threads = cluster.threads_of(len(shards))
    futures = [
        cluster.client.submit(
            building.build_text_part, run.request.store, choice, plan, shard, threads=threads, pure=False
        )
        for shard in shards
    ]
    with stage_progress("build-texts", "shards") as progress:
        progress.expect(len(futures))
        parts: list[building.Part] = gather(cluster, futures, run.workspace.deadline, progress.advance)
        return parts
