"""The rollback flow: point a channel at an older snapshot, from the Prefect UI."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from lookalike.data.errors import InputError
from lookalike.data.settings import read
from lookalike.data.snapshots import publishing
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL, Channel
from lookalike.data.stores import open_store
from lookalike.flows.runtime.request import describe_parameters
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.flows.runtime.states import name_run


class Moved(BaseModel):
    """Where a channel points now, by which entry, and where it pointed before."""

    channel: str
    before: str | None
    snapshot: str
    entry: int
    reason: str


@flow(name="rollback", persist_result=False, validate_parameters=True, flow_run_name=name_run("rollback"))
@describe_parameters
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
    hold: Annotated[
        bool,
        Field(description="After a step back, keep runs from publishing to the channel until a person moves it again"),
    ] = True,
    store: Annotated[str | None, Field(description="The store; default: the worker's setting LOOKALIKE_STORE")] = None,
) -> Moved:
    """Point a channel at an older snapshot, or at one that you name; servers follow within seconds.

    Runs leave the channel there until a person promotes a snapshot, unless `hold` is off.
    """
    if force and not to:
        raise InputError("`force` is for a snapshot that you name: set `to`, or leave `force` off")
    to_move = Channel(open_store(store or read(BatchSettings).absolute_store()), channel)
    before = to_move.latest()
    if to:
        entry = publishing.promote(to_move, to, reason=reason, force=force, hold=None if hold else False)
    else:  # a form may send an empty text
        entry = publishing.rollback(to_move, reason=reason, hold=hold)
    get_run_logger().warning("channel %r points at %s: %s", channel, entry.snapshot, reason)
    return Moved(
        channel=channel,
        before=before.snapshot if before else None,
        snapshot=entry.snapshot,
        entry=entry.number,
        reason=reason,
    )
