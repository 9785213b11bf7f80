"""The session of a run: what it has around its stages, which is the channel to itself, a cluster and scratch space.

The lock of a channel lets one run work on it at a time, whichever deployment or person started it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from lookalike.data.errors import ChannelBusyError, UnavailableError
from lookalike.data.reports import Kind, State
from lookalike.data.spans import root_span, start_traces, trace_ids
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.request import Request
from lookalike.flows.runtime.run import Journal, Run, Workspace, is_out_of_space

LEASE_SECONDS = 60.0  # a run that was killed holds the lock no longer than this; Prefect allows no less

OnFailure = Callable[[Run, State, str], None]
"""Takes the run, how it ended, and a sentence why."""


@contextmanager
def run_session(kind: Kind, request: Request, *, wait_seconds: float, on_failure: OnFailure) -> Iterator[Run]:
    """Yield a run that has its channel to itself. One that fails is given to `on_failure`, and fails.

    Raises `ChannelBusyError` where another run has the channel for longer than `wait_seconds`.
    """
    with (
        _traced(kind, request),
        channel_lock(request.store, request.channel, wait_seconds=wait_seconds),
        tempfile.TemporaryDirectory(prefix="lookalike-run-") as scratch,
        Cluster(request.settings) as cluster,
    ):
        run = Run(request, Workspace(request, cluster, Path(scratch)), Journal(kind))
        try:
            yield run
        except Exception as error:
            failure = _explain(error)
            on_failure(run, "failed", str(failure) or repr(failure))
            if failure is error:
                raise
            raise failure from error
        except BaseException:  # Prefect ends a flow that is cancelled from within, and so does Ctrl-C
            published = f" after it had published {run.journal.published}" if run.journal.published else ""
            on_failure(run, "cancelled", f"the run was cancelled{published}")
            raise


@contextmanager
def _traced(kind: Kind, request: Request) -> Iterator[None]:
    """Let the run be a trace, with its stages as spans; its log names it."""
    if not request.settings.traces:
        yield
        return
    _, end = start_traces("lookalike-batch", version("lookalike"))
    try:
        with root_span(kind):
            run_log(__name__).info("trace %s", trace_ids()["trace_id"])
            yield
    finally:
        end()


def _explain(error: Exception) -> Exception:
    """Return an error that says what to do, where this one does not."""
    if is_out_of_space(error):
        return UnavailableError(
            f"there is no space left in {tempfile.gettempdir()} or in the store's folder ({error}): make room, or set "
            "TMPDIR to a folder with room, and run it again"
        )
    return error


@contextmanager
def channel_lock(store: str, channel: str, *, wait_seconds: float) -> Iterator[None]:
    """Hold the lock of a channel, on the Prefect server that records this run.

    It spares work, and is not what keeps a channel right: publishing itself lets only one of two runs win.

    Raises `ChannelBusyError` where another run has it for longer than `wait_seconds`.
    """
    name = lock_name(store, channel)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, limit=1)
    held = concurrency(
        name, timeout_seconds=max(wait_seconds, 1.0), lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False
    )
    try:
        held.__enter__()
    except TimeoutError as error:
        raise ChannelBusyError(_explain_timeout(name, channel, wait_seconds)) from error
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def _explain_timeout(name: str, channel: str, seconds: float) -> str:
    with get_client(sync_client=True) as client:
        is_held = client.read_global_concurrency_limit_by_name(name).active_slots > 0
    if is_held:
        return f"another run is working on channel {channel!r}: try again when it has ended"
    # a server on SQLite refuses one of two clients that write at once, and Prefect then waits 2, 4, 8 seconds
    return (
        f"the Prefect server did not give the lock of channel {channel!r} within {seconds:.0f} s, and no run holds it: "
        "the server is too busy; try again, or give it PostgreSQL"
    )


def lock_name(store: str, channel: str) -> str:
    """Return the name of the Prefect concurrency limit of a channel in a store."""
    return f"lookalike-{channel}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"
