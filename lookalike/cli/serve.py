"""`lookalike serve` and `lookalike demo`: what runs until it is stopped."""

from __future__ import annotations

import os
import sys

import click

from lookalike.cli.output import channel_option, report_errors, store_option, warn_of_unknown_settings


@click.command()
@store_option
@channel_option
@click.option("--host", envvar="LOOKALIKE_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="LOOKALIKE_PORT", default="8000", show_default=True, metavar="INTEGER")
@click.option("--workers", envvar="LOOKALIKE_WORKERS", default=1, show_default=True, help="Server processes.")
@click.option("--stream", is_flag=True, help="Answer streams, too: at /v1/stream, and over gRPC.")
@click.option("--graphql", is_flag=True, help="Answer GraphQL, too, at /graphql; takes the extra `graphql`.")
@click.option("--grpc-port", envvar="LOOKALIKE_GRPC__PORT", type=int, help="Answer gRPC, too, on this port.")
@report_errors
def serve(
    *,
    store: str,
    channel: str,
    host: str,
    port: str,
    workers: int,
    stream: bool,
    graphql: bool,
    grpc_port: int | None,
) -> None:
    """Answer queries from a channel's snapshot, and follow it to the next one without a restart."""
    # BLAS is asked for one small product a query; its threads would then wait busily, on processors that encode
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lookalike.data.imports import imports_uncollected

    with imports_uncollected():
        from lookalike.serving.server.run import serve as run
        from lookalike.serving.settings import read_settings

    warn_of_unknown_settings()
    # the port is text: Kubernetes sets LOOKALIKE_PORT=tcp://… beside a service of our name, and the settings know that
    given = {} if grpc_port is None else {"grpc": {"port": grpc_port}}
    settings = read_settings(store=store, channel=channel, host=host, port=port, workers=workers, **given)
    if stream:  # without the option, the environment decides
        settings.stream.enabled = True
    if graphql:
        settings.graphql.enabled = True
    run(settings)


@click.command()
@click.option("--once", is_flag=True, help="Do the same work, run one query, print its hits and exit.")
@click.option("--catalogue", metavar="URI", help="Your own pictures; default: the OpenMoji sample.")
@click.option("--port", default=8000, show_default=True, help="Of the search page.")
@report_errors
def demo(*, once: bool, catalogue: str | None, port: int) -> None:
    """Bring up everything on this machine: Prefect, Dask, a first reindex, its schedule and the search page."""
    from lookalike.infra.demo.demo import DemoOptions, run

    sys.exit(run(DemoOptions(once=once, catalogue=catalogue, port=port)))
