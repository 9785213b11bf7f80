"""The reindex flow: scan -> diff -> embed -> plan -> train -> build -> evaluate -> gate -> publish -> report."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from data.channels import DEFAULT_CHANNEL
from data.manifest import CatalogueSection
from flows import embedding, indexing, publishing, scanning
from flows.cluster import dask_client
from flows.publishing import Report
from flows.run import Limits, Request, Run
from flows.settings import BatchSettings

DEFAULT_ENCODER = "efficientnet-lite0"


@flow(name="reindex", persist_result=False, validate_parameters=True)
def reindex(
    catalogue: Annotated[str, Field(description="A folder of images, or a .csv, .jsonl or .parquet; local or s3://")],
    store: Annotated[
        str | None, Field(description="Where snapshots live; default: the setting LOOKALIKE_STORE")
    ] = None,
    channel: Annotated[str, Field(description="Which channel to publish to")] = DEFAULT_CHANNEL,
    encoder: Annotated[str, Field(description="`lookalike encoders list` shows them")] = DEFAULT_ENCODER,
    shards: Annotated[
        int | None, Field(ge=1, description="Parts of the index; default: by the catalogue's size")
    ] = None,
    full: Annotated[bool, Field(description="Hash every picture and train the index anew")] = False,
    publish: Annotated[bool, Field(description="Point the channel at the new snapshot")] = True,
    attribution: Annotated[str, Field(description="Whom the pictures are owed to; shown on the search page")] = "",
    limits: Annotated[Limits | None, Field(description="What a snapshot must reach to be published")] = None,
) -> Report:
    """Bring a channel up to date with a catalogue: embed what is new, build a snapshot, publish it."""
    settings = BatchSettings()
    request = Request(
        catalogue=catalogue,
        store=store or settings.absolute_store(),
        channel=channel,
        encoder=encoder,
        shards=shards,
        full=full,
        publish=publish,
        attribution=attribution,
        limits=limits or Limits(),
        partition=settings.batch_partition,
    )
    with dask_client(settings) as client:
        return run_stages(Run(request, client))


def run_stages(run: Run) -> Report:
    """Run the stages, one after the other."""
    found = scanning.scan(run)
    encoder = embedding.prepare_encoder(run)
    missing = scanning.diff(run, found, encoder)
    products = embedding.embed(run, found, missing, encoder)
    pictures = len(products["image_hash"].unique())
    embedded = missing.num_rows - len(found["image_hash"].unique()) + pictures

    if run.parent and scanning.unchanged(run, products, encoder):
        return publishing.report(run, run.parent, embedded=embedded, pictures=pictures, refused=[])

    catalogue = scanning.record(run, products)
    chosen = indexing.plan(run, products.num_rows, encoder)
    trained = indexing.train(run, catalogue, encoder, chosen)
    queries, shards = indexing.build(run, catalogue, encoder, chosen, trained)
    measured = indexing.evaluate(run, chosen, queries, shards)
    refused = publishing.gate(run, products, measured)

    trained_on = run.parent.index.trained_on if chosen.keep_trained and run.parent else products.num_rows
    source = CatalogueSection(
        id=catalogue, uri=run.request.catalogue, products=products.num_rows, attribution=run.request.attribution
    )
    index = publishing.index_section(chosen, trained, measured, trained_on)
    snapshot = publishing.publish(run, source, encoder, index, shards, measured, refused)
    return publishing.report(run, snapshot, embedded=embedded, pictures=pictures, refused=refused)
