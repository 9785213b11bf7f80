"""The lock of a channel: one run at a time, whichever deployment or person started it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from lookalike.data.errors import ChannelBusyError

LEASE_SECONDS = 60.0  # a run that was killed holds the lock no longer than this; Prefect allows no less


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
        raise ChannelBusyError(f"another run is working on channel {channel!r}: try again when it has ended") from error
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def lock_name(store: str, channel: str) -> str:
    """Return the name of the Prefect concurrency limit of a channel in a store."""
    return f"lookalike-{channel}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"
