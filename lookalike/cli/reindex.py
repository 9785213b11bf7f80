"""`lookalike reindex` and `lookalike refresh`: a flow, run here and now."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.output import (
    CHANNEL,
    SNAPSHOT_STORE,
    attribution_option,
    channel_option,
    open_channel,
    output_option,
    print_value,
    report_errors,
    say,
    store_option,
    warn_of_unknown_settings,
)
from lookalike.cli.report import describe_options, describe_report
from lookalike.data.printable import escape_controls

if TYPE_CHECKING:
    from lookalike.data.reports import RunReport


columns_option = click.option(
    "--columns",
    metavar="OURS=THEIRS[:TYPE],…",
    help="Which column is which; see below. Exports of shop programs are known.",
)
encoder_option = click.option(
    "--encoder",
    help="See `lookalike encoders list`; default: as in the last snapshot, and efficientnet-lite0 in a new channel.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "int8", "bfloat16"]),
    help="Of the encoder: int8 and bfloat16 are faster on processors that have them, and find a little less; see "
    "docs/encoders.md. "
    "Default: as in the last snapshot, and float32 in a new channel.",
)
text_encoder_option = click.option(
    "--text-encoder",
    help="Lets texts find products by what they mean; see `lookalike encoders list --texts`, or none. "
    "Default: as in the last snapshot, and none in a new channel.",
)
text_fields_option = click.option(
    "--text-fields",
    metavar="title,ATTRIBUTE,…",
    help="What of a product is encoded; default: as in the last snapshot, else title.",
)
encoding_option = click.option("--encoding", help="How a table was saved, such as cp1250; default: found by its bytes.")

_IMPORTED_BY_RUNS = ("fastapi.encoders", "prefect.flow_engine", "prefect.task_engine", "pyarrow.dataset")
"""What Prefect and Arrow import when a run needs it: a fifth of a second, while its server starts anyway."""


@click.command()
@click.argument("catalogue")
@columns_option
@encoding_option
@store_option
@channel_option
@encoder_option
@precision_option
@text_encoder_option
@text_fields_option
@click.option("--shards", type=click.IntRange(min=1), help="Parts of the index; default: by the catalogue's size.")
@click.option(
    "--index-bytes", type=click.IntRange(min=1), help="Memory that the index may take; default: LOOKALIKE_INDEX_BYTES."
)
@click.option(
    "--index-dimensions",
    type=click.IntRange(min=32),
    help="Of its vectors, at most: 128 takes half the memory; default: LOOKALIKE_INDEX_DIMENSIONS.",
)
@click.option("--full", is_flag=True, help="Hash every picture again and train a new index.")
@click.option("--no-publish", is_flag=True, help="Make the snapshot, but leave the channel where it is.")
@attribution_option
@output_option
@report_errors
def reindex(*, no_publish: bool, output: str, **parameters: Any) -> None:
    """Bring a channel up to date with CATALOGUE: a folder of pictures, or CSV, JSONL or Parquet.

    A table may be compressed, or an address. Where its columns are not called id, image and title, say which they are:
    --columns 'id=Artikelnr,image=Bild,price=Preis:decimal_comma'. The types are text, number, decimal_point,
    decimal_comma, boolean, date, date_dmy and date_mdy; a type is needed only where the values do not say it.

    Embeds what is new, builds a snapshot and publishes it. Exits with 1 where a limit keeps it from being published.
    """
    report = _run("reindex", publish=not no_publish, **parameters)
    _end(report, output, store=parameters["store"], channel=parameters["channel"])


@click.command()
@click.argument("catalogue")
@columns_option
@encoding_option
@store_option
@channel_option
@encoder_option
@precision_option
@text_encoder_option
@text_fields_option
@click.option("--no-publish", is_flag=True, help="Make the snapshot, but leave the channel where it is.")
@attribution_option
@output_option
@report_errors
def refresh(*, no_publish: bool, output: str, **parameters: Any) -> None:
    """Add to a channel what came, changed or went in CATALOGUE since the last reindex, in seconds.

    Trains nothing and rebuilds nothing; where too much changed, it does what `reindex` does.
    """
    report = _run("refresh", publish=not no_publish, **parameters)
    _end(report, output, store=parameters["store"], channel=parameters["channel"])


def _run(flow: str, *, catalogue: str, store: str, **parameters: Any) -> RunReport:
    """Run a flow here and now, its stages on the terminal."""
    from lookalike.data.imports import imports_uncollected
    from lookalike.flows.runtime.server import start_server
    from lookalike.flows.runtime.terminal import explain_prefect, quiet_prefect, show_stages

    quiet_prefect()
    server = start_server()  # a run waits for it longest; it ends with this process, where a slip is reported below
    with imports_uncollected():
        from lookalike.data.catalogue.columns import parse_columns
        from lookalike.data.catalogue.reader import ReadOptions, check_catalogue, locate
        from lookalike.data.settings import read
        from lookalike.data.snapshots.channels import check_channel_name
        from lookalike.flows.runtime.settings import BatchSettings, absolute

    warn_of_unknown_settings()
    columns = parse_columns(parameters.get("columns"))
    check_channel_name(parameters["channel"])
    read(BatchSettings)
    location = locate(catalogue)
    check_catalogue(location, ReadOptions(columns=columns, encoding=parameters.get("encoding"), store=absolute(store)))
    open_channel(store, parameters["channel"]).numbers()  # a run would wait for minutes for a store that is away
    if sys.stderr.isatty():
        say("  starting Prefect …", err=True)
    with imports_uncollected():
        run = getattr(import_module(f"lookalike.flows.{flow}"), flow)
        from lookalike.flows.runtime.states import run_here

        for module in _IMPORTED_BY_RUNS:
            import_module(module)

    show_stages()
    with explain_prefect():
        if server:
            server.wait()
        return run_here(run, catalogue=location, store=absolute(store), **parameters)


def _end(report: RunReport, output: str, *, store: str, channel: str) -> None:
    if output == "json":
        print_value(report.model_dump(mode="json"), output)
    else:
        options = describe_options({"store": (store, SNAPSHOT_STORE), "channel": (channel, CHANNEL)})
        say("\n".join(escape_controls(line) for line in describe_report(report, options)))
    sys.exit(1 if report.refused else 0)
