"""The session of a run: what it has around its stages, which is the channel to itself, a cluster and scratch space."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.data.reports import Kind, State
from lookalike.flows.runtime.channel_lock import channel_lock
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.request import Request
from lookalike.flows.runtime.run import Journal, Run, Workspace

OnFailure = Callable[[Run, State, str], None]
"""Takes the run, how it ended, and a sentence why."""


@contextmanager
def run_session(kind: Kind, request: Request, *, wait_seconds: float, on_failure: OnFailure) -> Iterator[Run]:
    """Yield a run that has its channel to itself. One that fails is given to `on_failure`, and fails.

    Raises `ChannelBusyError` where another run has the channel for longer than `wait_seconds`.
    """
    with (
        channel_lock(request.store, request.channel, wait_seconds=wait_seconds),
        tempfile.TemporaryDirectory(prefix="lookalike-run-") as scratch,
        Cluster(request.settings) as cluster,
    ):
        run = Run(request, Workspace(request, cluster, Path(scratch)), Journal(kind))
        try:
            yield run
        except Exception as error:
            on_failure(run, "failed", str(error) or repr(error))
            raise
        except BaseException:  # Prefect ends a flow that is cancelled from within, and so does Ctrl-C
            published = f" after it had published {run.journal.published}" if run.journal.published else ""
            on_failure(run, "cancelled", f"the run was cancelled{published}")
            raise
