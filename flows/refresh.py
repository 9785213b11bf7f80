"""The refresh flow, in seconds and without training: begin -> scan -> diff -> embed -> resolve -> delta -> gate
-> publish -> report.

What came or changed goes into one small shard beside those of the last full build, and what it replaces gets a
tombstone there. When that is too much, or answers suffer, the run becomes a reindex, which folds all of it in.
"""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from lookalike.data.errors import ChannelBusyError, CorruptError, NotFoundError
from lookalike.data.reports import RunReport
from lookalike.data.snapshots.manifest import EncoderSection, Manifest, ShardSection
from lookalike.flows import reindex
from lookalike.flows.reporting.reports import Outcome, compose_skipped_report
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.request import RefreshParameters, Request, takes
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.session import run_session
from lookalike.flows.runtime.states import end_state, name_run
from lookalike.flows.stages import colours, delta, embed, publish, report, resolve, scan, texts
from lookalike.tasks.build.jobs import Measurement
from lookalike.tasks.build.texts import find_text_change
from lookalike.tasks.build.tower import keep_figures
from lookalike.tasks.delta import find_reason_against_delta, find_reason_to_rebuild
from lookalike.tasks.draft import describe_refreshed_catalogue, draft_snapshot
from lookalike.tasks.published import Published
from lookalike.tasks.resolve import ResolvedDelta

BUSY_SECONDS = 20.0  # a run that has the channel will see what changed, or the refresh after this one will


@flow(name="refresh", persist_result=False, validate_parameters=True, flow_run_name=name_run("refresh"))
@takes(RefreshParameters)
def refresh(parameters: RefreshParameters) -> State[RunReport]:
    """Bring a channel up to date with what came, changed or went since the last full build, in seconds."""
    request = Request.of(parameters)
    try:
        with run_session("refresh", request, wait_seconds=BUSY_SECONDS, on_failure=report.report_failure) as run:
            published = publish.begin(run)
            if run.request.publish and (held := published.why_held()):
                return end_state(compose_skipped_report("refresh", request, held))
            return end_state(run_stages(run, published))
    except ChannelBusyError as error:
        run_log(__name__).warning("skipped: %s", error)
        return end_state(compose_skipped_report("refresh", request, str(error)))


def run_stages(run: Run, published: Published) -> RunReport:
    """Run the stages, one after the other; those of a reindex where a delta will not do."""
    encoder, attribution = embed.prepare_encoder(run, published), run.attribution(published)
    choice = texts.choose(run, published.manifest)
    reason = find_reason_to_rebuild(published, encoder, channel=run.request.channel, attribution=attribution)
    if published.manifest and not reason:
        reason = find_text_change(run.workspace.store, published.manifest, choice)
    if reason:
        return _run_full_build(run, published, reason)
    run.workspace.cluster.start_soon()
    scanned = scan.scan(run, published, only_changes=True)
    parent = scanned.published.manifest
    if parent is None:
        reason = "the products of the published snapshot cannot be read"
        return _run_full_build(run, scanned.published, reason)
    to_embed = scan.diff(run, scanned, encoder)
    embedded = embed.embed(run, to_embed, encoder)
    resolved = resolve.resolve_delta(run, scanned, embedded)

    if not resolved.changes.total:
        return report.report(run, Outcome(parent, scanned, resolved, is_new=False))
    if reason := find_reason_against_delta(run.workspace.store, parent, resolved):
        return _run_full_build(run, published, reason)

    colours.measure(run, resolved, wanted=parent.colours is not None)
    built = _build(run, parent, encoder, resolved)
    if isinstance(built, str):
        return _run_full_build(run, published, built)
    shards, measured = built
    texts.embed(run, choice, [shard for shard in shards if shard.delta])
    described = texts.extend(run, choice, parent, shards)
    catalogue = describe_refreshed_catalogue(shards, uri=run.request.shown_catalogue, attribution=attribution)
    origin = run.journal.origin(parent)
    # pictures of a delta are looked at for duplicates by the next full build
    space = parent.image.model_copy(update={"encoder": encoder})
    manifest = draft_snapshot(
        *(origin, catalogue, space, shards, measured),
        words=parent.words,
        colours=parent.colours,
        texts=described,
        duplicates=parent.duplicates,
        figures=keep_figures(parent),
    )
    manifest = publish.gate(run, parent, manifest, resolved)
    snapshot = publish.publish(run, published, manifest)
    return report.report(run, Outcome(snapshot, scanned, resolved))


def _build(
    run: Run, parent: Manifest, encoder: EncoderSection, resolved: ResolvedDelta
) -> tuple[list[ShardSection], Measurement] | str:
    """Return what was built, or why it is not good enough."""
    try:
        shards, measured = delta.build(run, parent, encoder, resolved)
    except (CorruptError, NotFoundError) as error:
        run_log(__name__).warning("the published snapshot is not whole, all its files are rebuilt: %s", error)
        return "a file of the published snapshot is lost or damaged"
    if measured.recall < run.request.limits.min_recall:
        return f"recall@10 fell to {measured.recall:.3f}"
    return shards, measured


def _run_full_build(run: Run, published: Published, reason: str) -> RunReport:
    run_log(__name__).info("a full build instead: %s", reason)
    run.journal.become_reindex()
    return reindex.run_stages(run, published)
