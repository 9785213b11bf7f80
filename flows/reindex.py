"""The reindex flow: scan -> diff -> embed -> plan -> train -> build -> evaluate -> gate -> publish -> report."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from prefect import flow
from pydantic import Field

from lookalike.data.reports import RunReport
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL
from lookalike.data.snapshots.manifest import EncoderSection, Manifest
from lookalike.flows.runtime.parameters import described
from lookalike.flows.runtime.run import Limits, Run
from lookalike.flows.runtime.session import DEFAULT_ENCODER, conducted, make_request
from lookalike.flows.stages import duplicates, embed, report, resolve, scan
from lookalike.flows.stages import index as indexing
from lookalike.flows.stages import publish as publishing
from lookalike.flows.stages.report import Outcome
from lookalike.flows.stages.resolve import Recorded
from lookalike.tasks.build.jobs import Source
from lookalike.tasks.build.shard import shard_range

Catalogue = Annotated[
    str,
    Field(
        min_length=1,
        title="Catalogue",
        description="A folder of images, or a .csv, .jsonl or .parquet; a path, s3:// or (a file) https://",
    ),
]
Store = Annotated[
    str | None,
    Field(title="Store", description="Where snapshots live: a folder or s3://…; default: LOOKALIKE_STORE"),
]
ChannelName = Annotated[
    str, Field(title="Channel", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Which to publish to")
]
Encoder = Annotated[str, Field(title="Encoder", description="`lookalike encoders list` shows them")]
Publish = Annotated[
    bool, Field(title="Publish", description="Point the channel at the new snapshot, if it is good enough")
]
Attribution = Annotated[
    str | None,
    Field(title="Attribution", description="Whom the pictures are owed to; default: as in the last snapshot"),
]
LimitsOf = Annotated[
    Limits | None, Field(title="Limits", description="What a snapshot must reach to be published; default: sane ones")
]
Minutes = Annotated[float, Field(gt=0, title="Timeout", description="Minutes after which the run gives up")]


@flow(name="reindex", persist_result=False, validate_parameters=True, flow_run_name="reindex-{channel}")
@described
def reindex(
    catalogue: Catalogue,
    store: Store = None,
    channel: ChannelName = DEFAULT_CHANNEL,
    encoder: Encoder = DEFAULT_ENCODER,
    shards: Annotated[
        int | None, Field(ge=1, title="Shards", description="Parts of the index; default: by the catalogue's size")
    ] = None,
    full: Annotated[
        bool, Field(title="Full", description="Read every picture again, and train the index anew")
    ] = False,
    index_bytes: Annotated[
        int | None,
        Field(ge=1, title="Index bytes", description="Memory that the index may take; default: LOOKALIKE_INDEX_BYTES"),
    ] = None,
    publish: Publish = True,
    attribution: Attribution = None,
    limits: LimitsOf = None,
    timeout_minutes: Minutes = 24 * 60,
) -> RunReport:
    """Bring a channel up to date with a catalogue: embed what is new, build a snapshot, publish it."""
    request = make_request(
        "reindex",
        catalogue,
        store=store,
        channel=channel,
        encoder=encoder,
        publish=publish,
        attribution=attribution,
        limits=limits,
        timeout_minutes=timeout_minutes,
        shards=shards,
        full=full,
        index_bytes=index_bytes,
    )
    with conducted(request, wait_seconds=request.timeout_seconds, on_failure=report.report_failure) as run:
        return run_stages(run)


def run_stages(run: Run) -> RunReport:
    """Run the stages, one after the other."""
    found = scan.scan(run)
    encoder = embed.prepare_encoder(run)
    missing = scan.diff(run, found, encoder)
    embeds = embed.embed(run, missing, encoder)
    recorded = resolve.record(run, found, embeds)

    if run.parent and unchanged(run, recorded, encoder):
        return report.report(run, Outcome(run.parent, "unchanged", found, recorded))

    catalogue = resolve.store_catalogue(run, recorded)
    chosen = indexing.plan(run, catalogue, recorded.pictures, encoder)
    source = Source(run.request.store, catalogue.id, encoder, chosen)
    trained = indexing.train(run, source)
    queries, shards = indexing.build(run, source, trained)
    measured = indexing.evaluate(run, chosen, queries, shards)
    space = indexing.space_section(run, encoder, chosen, trained, measured)
    manifest = publishing.draft(run, catalogue, space, [shard.section for shard in shards], measured)
    manifest = duplicates.find(run, manifest)
    comparison = publishing.compare(run, manifest)
    refused = publishing.gate(run, manifest, recorded.changes, comparison.overlap if comparison else None)
    snapshot = publishing.publish(run, manifest.model_copy(update={"refused": tuple(refused)}))

    outcome = Outcome(snapshot, run.state_of(snapshot), found, recorded)
    outcome.comparison = comparison
    return report.report(run, outcome)


def unchanged(run: Run, recorded: Recorded, encoder: EncoderSection) -> bool:
    """Tell whether a new snapshot would answer exactly as the one that is published."""
    request, parent = run.request, run.parent
    if parent is None or request.full or recorded.changes.total:
        return False
    return (
        not any(shard.delta or shard.tombstones for shard in parent.shards)
        and parent.catalogue.attribution == run.attribution
        and parent.encoder.is_same(encoder)
        and (request.shards is None or _is_cut_so(parent, recorded, request.shards))
    )


def _is_cut_so(parent: Manifest, recorded: Recorded, shards: int) -> bool:
    """Tell whether a build in so many shards has those of the parent: those without a product are left out."""
    if shards <= len(parent.shards) or recorded.catalogue is None:
        return shards == len(parent.shards)
    stops = [shard_range(shard, shards)[1] for shard in range(shards)]
    counts = np.bincount(np.searchsorted(stops, recorded.catalogue.places(), side="right"))
    return bool(counts[counts > 0].tolist() == [shard.count for shard in parent.shards])
