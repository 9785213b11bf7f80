"""The refresh flow: scan -> diff -> embed -> delta -> gate -> publish -> report, in seconds and without training.

What came or changed goes into one small shard beside those of the last full build, and what it replaces gets a
tombstone there. When that is too much, or answers suffer, the run becomes a reindex, which folds all of it in.
"""

from __future__ import annotations

from prefect import flow

from lookalike.data.errors import ChannelBusyError, CorruptError, NotFoundError
from lookalike.data.reports import RunReport
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL
from lookalike.data.snapshots.manifest import EncoderSection, Manifest, ShardSection
from lookalike.flows import reindex
from lookalike.flows.reindex import Attribution, Catalogue, ChannelName, Encoder, LimitsOf, Minutes, Publish, Store
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.parameters import described
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.session import DEFAULT_ENCODER, conducted, make_request
from lookalike.flows.stages import delta, embed, report, resolve, scan
from lookalike.flows.stages import publish as publishing
from lookalike.flows.stages.report import Outcome
from lookalike.flows.stages.resolve import Recorded
from lookalike.tasks.build.jobs import Measured

BUSY_SECONDS = 5.0  # a run that has the channel will see what changed, or the refresh after this one will


@flow(name="refresh", persist_result=False, validate_parameters=True, flow_run_name="refresh-{channel}")
@described
def refresh(
    catalogue: Catalogue,
    store: Store = None,
    channel: ChannelName = DEFAULT_CHANNEL,
    encoder: Encoder = DEFAULT_ENCODER,
    publish: Publish = True,
    attribution: Attribution = None,
    limits: LimitsOf = None,
    timeout_minutes: Minutes = 60,
) -> RunReport:
    """Bring a channel up to date with what came, changed or went since the last full build, in seconds."""
    request = make_request(
        "refresh",
        catalogue,
        store=store,
        channel=channel,
        encoder=encoder,
        publish=publish,
        attribution=attribution,
        limits=limits,
        timeout_minutes=timeout_minutes,
    )
    try:
        with conducted(request, wait_seconds=BUSY_SECONDS, on_failure=report.report_failure) as run:
            return run_stages(run)
    except ChannelBusyError as error:
        run_log(__name__).warning("skipped: %s", error)
        return report.skipped(request, str(error))


def run_stages(run: Run) -> RunReport:
    """Run the stages, one after the other."""
    encoder = embed.prepare_encoder(run)
    if reason := delta.needs_full_build(run, encoder):
        return _full(run, reason)
    run.cluster.start_soon()
    found = scan.scan(run)
    if run.parent is None:
        return _full(run, "the products of the published snapshot cannot be read")
    missing = scan.diff(run, found, encoder)
    embeds = embed.embed(run, missing, encoder)
    recorded = resolve.record(run, found, embeds)
    parent = run.published()

    if not recorded.changes.total:
        return report.report(run, Outcome(parent, "unchanged", found, recorded))
    if reason := delta.too_much(run, parent, recorded):
        return _full(run, reason)

    built = _built(run, parent, encoder, recorded)
    if isinstance(built, str):
        return _full(run, built)
    shards, measured = built
    source = delta.catalogue_section(run, parent, shards)
    space = parent.image.model_copy(update={"encoder": encoder})
    manifest = publishing.draft(run, source, space, shards, measured)
    refused = publishing.gate(run, manifest, recorded.changes)
    snapshot = publishing.publish(run, manifest.model_copy(update={"refused": tuple(refused)}))
    return report.report(run, Outcome(snapshot, run.state_of(snapshot), found, recorded))


def _built(
    run: Run, parent: Manifest, encoder: EncoderSection, recorded: Recorded
) -> tuple[list[ShardSection], Measured] | str:
    """Return what was built, or why it is not good enough."""
    try:
        shards, measured = delta.build(run, parent, encoder, recorded)
    except (CorruptError, NotFoundError) as error:
        run_log(__name__).warning("the published snapshot is not whole, all its files are made anew: %s", error)
        return "a file of the published snapshot is lost or damaged"
    if measured.recall < run.request.limits.min_recall:
        return f"recall@10 fell to {measured.recall:.3f}"
    return shards, measured


def _full(run: Run, reason: str) -> RunReport:
    run_log(__name__).info("a full build instead: %s", reason)
    run.become_reindex()
    return reindex.run_stages(run)
