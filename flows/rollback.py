"""The rollback flow: point a channel at an older snapshot, from the Prefect UI."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from lookalike.data.errors import InputError
from lookalike.data.snapshots import publishing
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL, Channel, Entry
from lookalike.data.stores import open_store
from lookalike.flows.runtime.parameters import described
from lookalike.flows.runtime.settings import BatchSettings


class Moved(BaseModel):
    """Where a channel points now, by which entry, and where it pointed before."""

    channel: str
    before: str | None
    snapshot: str
    entry: int
    reason: str


@flow(name="rollback", persist_result=False, validate_parameters=True, flow_run_name="rollback-{channel}")
@described
def rollback(
    reason: Annotated[
        str,
        Field(min_length=3, description="Why; kept in the channel's history for those who come after"),
    ],
    channel: Annotated[str, Field(description="The channel to move")] = DEFAULT_CHANNEL,
    to: Annotated[
        str | None,
        Field(
            description="The snapshot to point at; default: the one before the current one, and again the one before",
        ),
    ] = None,
    force: Annotated[
        bool, Field(description="Also point at a snapshot that a limit refused; only together with `to`")
    ] = False,
    store: Annotated[str | None, Field(description="The store; default: the worker's setting LOOKALIKE_STORE")] = None,
) -> Moved:
    """Point a channel at an older snapshot, or at one that you name; servers follow within seconds.

    The next scheduled run publishes a new snapshot again: pause its schedule while the catalogue is wrong.
    """
    if force and not to:
        raise InputError("`force` is for a snapshot that you name: set `to`, or leave `force` off")
    return move(store or BatchSettings().absolute_store(), channel, to, reason, force=force)


def move(store: str, name: str, to: str | None, reason: str, *, force: bool) -> Moved:
    """Move a channel to snapshot `to`, by default to the one before.

    Raises as `lookalike.data.snapshots.publishing` does.
    """
    channel = Channel(open_store(store), name)
    before = channel.latest()
    entry = _moved(channel, to, reason, force=force)
    get_run_logger().warning("channel %r points at %s: %s", name, entry.snapshot, reason)
    return Moved(
        channel=name,
        before=before.snapshot if before else None,
        snapshot=entry.snapshot,
        entry=entry.number,
        reason=reason,
    )


def _moved(channel: Channel, to: str | None, reason: str, *, force: bool) -> Entry:
    if not to:  # a form may send an empty text
        return publishing.rollback(channel, reason=reason)
    return publishing.promote(channel, to, reason=reason, force=force)
