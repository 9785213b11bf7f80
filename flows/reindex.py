"""The reindex flow.

begin -> scan -> diff -> embed -> resolve -> colours -> plan -> train -> build -> evaluate -> texts -> compare -> gate
-> publish -> report
"""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from lookalike.data.reports import RunReport
from lookalike.data.snapshots.manifest import EncoderSection, Manifest
from lookalike.flows.reporting.reports import Outcome, compose_skipped_report
from lookalike.flows.runtime.request import ReindexParameters, Request, takes
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.session import run_session
from lookalike.flows.runtime.states import end_state, name_run
from lookalike.flows.stages import colours, duplicates, embed, index, publish, report, resolve, scan, texts
from lookalike.tasks.build.jobs import Source
from lookalike.tasks.build.texts import TextChoice, find_text_change
from lookalike.tasks.draft import describe_colours, describe_space, describe_words, draft_snapshot, would_change_nothing
from lookalike.tasks.published import Published
from lookalike.tasks.resolve import ResolvedCatalogue


@flow(name="reindex", persist_result=False, validate_parameters=True, flow_run_name=name_run("reindex"))
@takes(ReindexParameters)
def reindex(parameters: ReindexParameters) -> State[RunReport]:
    """Bring a channel up to date with a catalogue: embed what is new, build a snapshot, publish it."""
    request = Request.of(parameters)
    wait_seconds = request.timeout_seconds
    with run_session("reindex", request, wait_seconds=wait_seconds, on_failure=report.report_failure) as run:
        published = publish.begin(run)
        if run.request.publish and (held := published.why_held()):
            return end_state(compose_skipped_report("reindex", request, held))
        return end_state(run_stages(run, published))


def run_stages(run: Run, published: Published) -> RunReport:
    """Run the stages, one after the other."""
    scanned = scan.scan(run, published, only_changes=False)
    parent, attribution = scanned.published.manifest, run.attribution(published)
    encoder, choice = embed.prepare_encoder(run, published), texts.choose(run, published.manifest)
    to_embed = scan.diff(run, scanned, encoder)
    embedded = embed.embed(run, to_embed, encoder)
    resolved = resolve.resolve_catalogue(run, scanned, embedded)

    if parent and _is_unchanged(run, parent, resolved, encoder, attribution, choice):
        return report.report(run, Outcome(parent, scanned, resolved, is_new=False))

    colours.measure(run, resolved, wanted=run.request.settings.colours)
    catalogue = resolve.store_catalogue(run, resolved, attribution)
    plan = index.plan(run, parent, catalogue, resolved.pictures, encoder)
    words = describe_words(wanted=run.request.settings.words)
    colouring = describe_colours(wanted=run.request.settings.colours)
    source = Source(run.request.store, catalogue.id, encoder, plan, words is not None, colouring is not None)
    trained = index.train(run, parent, source)
    queries, shards = index.build(run, source, trained)
    measured = index.evaluate(run, plan, queries, shards)

    space = describe_space(encoder, plan, trained, measured, parent)
    built = [shard.section for shard in shards]
    texts.embed(run, choice, built)
    described = texts.build(run, choice, parent, built)
    space, figures = texts.measure_tower(run, space, built)
    origin = run.journal.origin(parent)
    manifest = draft_snapshot(
        *(origin, catalogue, space, built, measured),
        words=words,
        colours=colouring,
        texts=described,
        figures=figures,
    )
    manifest = duplicates.find(run, parent, manifest)
    comparison = publish.compare(run, parent, manifest)
    manifest = publish.gate(run, parent, manifest, resolved, comparison.overlap if comparison else None)
    snapshot = publish.publish(run, published, manifest)
    return report.report(run, Outcome(snapshot, scanned, resolved, comparison=comparison))


def _is_unchanged(
    run: Run,
    parent: Manifest,
    resolved: ResolvedCatalogue,
    encoder: EncoderSection,
    attribution: str,
    choice: TextChoice | None,
) -> bool:
    """Tell whether the published snapshot may stay: a full build is made whenever a person asks for one."""
    if run.request.full:
        return False
    if find_text_change(run.workspace.store, parent, choice):
        return False
    words = describe_words(wanted=run.request.settings.words)
    return would_change_nothing(
        *(parent, resolved, encoder),
        attribution=attribution,
        words=words,
        colours=describe_colours(wanted=run.request.settings.colours),
        shards=run.request.shards,
    )
