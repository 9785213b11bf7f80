"""Snapshots: what is being served."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.serving.replies import write_held, write_snapshot
from lookalike.serving.rest.responses import reply
from lookalike.serving.rest.routes.common import problems, runtime_of
from lookalike.serving.rest.schema import SnapshotReply, SnapshotsReply

router = APIRouter(tags=["snapshots"])


@router.get(
    "/v1/snapshots",
    operation_id="listSnapshots",
    summary="List the snapshots in memory",
    response_model=SnapshotsReply,
    responses=problems(),
)
async def list_snapshots(request: Request) -> Response:
    """The one that is served first; others only while their last queries finish."""
    follower = runtime_of(request).follower
    return reply({"snapshots": [write_held(one, is_served=one is follower.current) for one in follower.loaded]})


@router.get(
    "/v1/snapshots/current",
    operation_id="currentSnapshot",
    summary="Get what is being served, with its figures",
    response_model=SnapshotReply,
    responses=problems("not_ready"),
)
async def current_snapshot(request: Request) -> Response:
    """Encoder, index and why it was chosen, measured quality, attribution, and the attributes to filter by."""
    runtime = runtime_of(request)
    with runtime.follower.lease() as loaded:
        return reply(write_snapshot(loaded, runtime.settings.channel))
