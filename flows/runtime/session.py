"""Conduct: what every run has around its stages: its turn at the channel, a cluster, scratch space, and a report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.data.reports import Kind, State
from lookalike.flows.runtime.channel_lock import turn
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.run import Limits, Request, Run
from lookalike.flows.runtime.settings import BatchSettings, absolute
from lookalike.flows.runtime.stage import stage

DEFAULT_ENCODER = "efficientnet-lite0"

OnFailure = Callable[[Run, State, str], None]
"""Takes the run, how it ended, and a sentence why."""


def make_request(
    kind: Kind,
    catalogue: str,
    *,
    store: str | None,
    channel: str,
    encoder: str,
    publish: bool,
    attribution: str | None,
    limits: Limits | None,
    timeout_minutes: float,
    shards: int | None = None,
    full: bool = False,
    index_bytes: int | None = None,
) -> Request:
    """Return a flow's parameters, completed from the settings. Raises `InputError`."""
    settings = BatchSettings()
    return Request(
        kind=kind,
        catalogue=catalogue,
        store=absolute(store) if store else settings.absolute_store(),  # runs that share a store wait for each other
        channel=channel,
        encoder=encoder,
        shards=shards,
        full=full,
        index_bytes=index_bytes or settings.index_bytes,
        publish=publish,
        attribution=attribution,
        limits=limits or Limits(),
        partition=settings.batch_partition,
        partition_bytes=settings.batch_partition_bytes,
        policy=settings.fetch.policy(),
        embed_device=settings.embed_device,
        embed_resources=settings.embed_resources(),
        near_duplicates=settings.near_duplicates,
        timeout_seconds=60 * timeout_minutes,
    )


@stage("begin")
def _begin(run: Run) -> None:
    """See where the channel is before anything else: whoever moves it later knows better, and is not overridden."""
    at = run.entry.snapshot if run.entry else "no snapshot"
    run_log(__name__).info("begin: channel %r points at %s", run.channel.name, at)


@contextmanager
def conducted(request: Request, *, wait_seconds: float, on_failure: OnFailure) -> Iterator[Run]:
    """Yield a run that has its channel to itself. One that fails is given to `on_failure`, and fails.

    Raises `ChannelBusyError` where another run has the channel for longer than `wait_seconds`.
    """
    with (
        turn(request.store, request.channel, wait_seconds=wait_seconds),
        tempfile.TemporaryDirectory(prefix="lookalike-run-") as scratch,
        Cluster(BatchSettings()) as cluster,
    ):
        run = Run(request, cluster, Path(scratch))
        try:
            _begin(run)
            yield run
        except Exception as error:
            on_failure(run, "failed", str(error) or repr(error))
            raise
        except BaseException:  # Prefect ends a flow that is cancelled from within, and so does Ctrl-C
            published = f" after it had published {run.moved_to}" if run.moved_to else ""
            on_failure(run, "cancelled", f"the run was cancelled{published}")
            raise
