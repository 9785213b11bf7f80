"""Snapshots: what is being served."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.rest.replies import reply
from lookalike.serving.rest.routes.common import problems, runtime_of
from lookalike.serving.rest.schema import (
    AttributeReply,
    ChannelReply,
    EncoderReply,
    HeldReply,
    IndexReply,
    SnapshotReply,
    SnapshotsReply,
)
from lookalike.serving.search.facets import count_attributes

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
    shown = [_describe(snapshot, serving=snapshot is follower.current) for snapshot in follower.loaded]
    return reply(SnapshotsReply(snapshots=shown))


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
        return reply(_describe_whole(loaded, runtime.settings.channel))


def _describe(loaded: LoadedSnapshot, *, serving: bool) -> HeldReply:
    return HeldReply(
        id=loaded.manifest.id,
        state="serving" if serving else "retiring",
        since=loaded.since,
        queries=loaded.queries,
        products=loaded.manifest.products,
    )


def _describe_whole(loaded: LoadedSnapshot, channel: str) -> SnapshotReply:
    """Where the catalogue lies, and who published it, is the operator's business: `lookalike snapshots show`."""
    manifest, entry = loaded.manifest, loaded.entry
    index = manifest.index.model_dump(include=set(IndexReply.model_fields))
    return SnapshotReply(
        id=manifest.id,
        created_at=manifest.created_at,
        products=manifest.products,
        attribution=manifest.catalogue.attribution,
        encoder=EncoderReply(**manifest.encoder.model_dump(include={"name", "fingerprint", "dimension"})),
        index=IndexReply(**index, shards=len(manifest.shards)),
        quality=manifest.quality,
        parent=manifest.parent,
        channel=ChannelReply(name=channel, number=entry.number, moved_at=entry.moved_at, reason=entry.reason),
        attributes={
            name: AttributeReply(type=attribute.type, values=attribute.values)
            for name, attribute in count_attributes(loaded.searcher.products).items()
        },
    )
