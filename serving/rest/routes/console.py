"""For operators: channels, snapshots and runs of the store, and what moves them. All takes the scope `admin`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from lookalike.data.errors import LookalikeError
from lookalike.data.reports import RUN
from lookalike.serving.background import in_thread
from lookalike.serving.console.problems import as_operators_problem
from lookalike.serving.context import Caller
from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.console_schema import (
    ChannelsReply,
    EntriesReply,
    EntryReply,
    OpenedReply,
    OpenRequest,
    PinReply,
    PinRequest,
    PromoteRequest,
    RejectsReply,
    RollBackRequest,
    RunsReply,
    SnapshotLineReply,
    SnapshotLinesReply,
    write_entries,
    write_rejects,
    write_runs,
)
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.responses import NOT_STORED, reply
from lookalike.serving.rest.routes.common import check_operator, problems, runtime_of

MOST = 200

router = APIRouter(prefix="/v1/admin", tags=["admin"])

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many, newest first.")]
_READ_CODES = ("bad_limit", "bad_field", "snapshot_damaged", "store_unavailable")
_READ = problems("unknown_snapshot", *_READ_CODES)
_MOVED = problems(
    *("malformed_json", "bad_request", "bad_field", "body_too_large"),
    *("moves_off", "store_read_only", "unknown_snapshot", "snapshot_refused", "snapshot_damaged", "channel_moved"),
    "store_unavailable",
)

T = TypeVar("T")


@router.get(
    "/channels",
    operation_id="listChannels",
    summary="Where each channel is",
    response_model=ChannelsReply,
    responses=_READ,
)
async def list_channels(request: Request) -> Response:
    """The newest entry of each channel: which snapshot, since when, by whom and why."""
    runtime = runtime_of(request)
    entries = await _read(request, runtime.board.channels)
    serves = runtime.follower.current
    found = ChannelsReply(
        follows=runtime.settings.channel,
        serves=serves.manifest.id if serves else None,
        may_move=runtime.moves.enabled,
        past_snapshots=runtime.archive.most,
        channels=write_entries(entries),
    )
    return reply(found)


@router.get(
    "/channels/{channel}",
    operation_id="channelHistory",
    summary="The history of a channel",
    response_model=EntriesReply,
    responses=_READ,
)
async def channel_history(request: Request, channel: str, limit: Limit = 50) -> Response:
    """Its moves, newest first."""
    entries = await _read(request, lambda: runtime_of(request).board.entries(channel, limit))
    return reply(EntriesReply(entries=write_entries(entries)))


@router.get(
    "/snapshots",
    operation_id="listStoredSnapshots",
    summary="The snapshots of the store",
    response_model=SnapshotLinesReply,
    responses=_READ,
)
async def list_snapshots(request: Request, channel: str | None = None, limit: Limit = 50) -> Response:
    """Newest first, refused ones among them; the runs that made them are those of `channel`."""
    runtime = runtime_of(request)
    lines = await _read(request, lambda: runtime.board.snapshots(channel or runtime.settings.channel, limit))
    return reply(SnapshotLinesReply(snapshots=[SnapshotLineReply.of(line) for line in lines]))


@router.get(
    "/runs", operation_id="listRuns", summary="The runs of a channel", response_model=RunsReply, responses=_READ
)
async def list_runs(request: Request, channel: str | None = None, limit: Limit = 50) -> Response:
    """What each did, newest first; those that had nothing to do are left out."""
    runtime = runtime_of(request)
    reports = await _read(request, lambda: runtime.board.runs(channel or runtime.settings.channel, limit))
    return reply(RunsReply(runs=write_runs(reports)))


@router.get(
    "/rejects",
    operation_id="listRejects",
    summary="What the last run of a channel left out",
    response_model=RejectsReply,
    responses=problems("unknown_run", *_READ_CODES),
)
async def list_rejects(request: Request, channel: str | None = None, limit: Limit = 50, reason: str = "") -> Response:
    """Counted by reason, and the first of them, of one reason where that is named."""
    runtime = runtime_of(request)
    at = channel or runtime.settings.channel
    report, rejects = await _read(request, lambda: runtime.board.rejects(at, limit, reason))
    return reply(write_rejects(report, rejects))


@router.get(
    "/runs/{run}/contact-sheet",
    operation_id="contactSheet",
    summary="Sample queries before and after a run",
    response_class=Response,
    responses=problems("unknown_run", *_READ_CODES),
)
async def contact_sheet(request: Request, run: Annotated[str, Path(pattern=rf"^{RUN}$")]) -> Response:
    """A PNG: each row is a picture of the catalogue with the first hits of both snapshots."""
    png = await _read(request, lambda: runtime_of(request).board.contact_sheet(run))
    return Response(png, media_type="image/png", headers=NOT_STORED)


@router.post(
    "/channels/{channel}/promote",
    operation_id="promote",
    summary="Point a channel at a snapshot",
    response_model=EntryReply,
    responses=_MOVED,
)
async def promote(request: Request, channel: str, asked: PromoteRequest) -> Response:
    """Servers that follow the channel do within seconds. Takes the setting `LOOKALIKE_CONSOLE__MOVES`."""
    moves = runtime_of(request).moves
    move = partial(moves.promote, channel, asked.snapshot, reason=asked.reason, force=asked.force, hold=asked.hold)
    return reply(EntryReply.model_validate(await _move(request, f"promote {channel}", move)))


@router.post(
    "/channels/{channel}/rollback",
    operation_id="rollBack",
    summary="Point a channel at the snapshot before",
    response_model=EntryReply,
    responses=_MOVED,
)
async def roll_back(request: Request, channel: str, asked: RollBackRequest) -> Response:
    """Again, at the one before that. By `hold` runs leave it there until it is moved by hand again."""
    move = partial(runtime_of(request).moves.roll_back, channel, reason=asked.reason, hold=asked.hold)
    return reply(EntryReply.model_validate(await _move(request, f"roll back {channel}", move)))


@router.post(
    "/open",
    operation_id="openSnapshot",
    summary="Let a past snapshot answer",
    response_model=OpenedReply,
    responses=problems(
        *("malformed_json", "bad_request", "bad_field", "past_off", "unknown_snapshot", "snapshot_damaged"),
        *("store_unavailable", "overloaded", "not_ready"),
    ),
)
async def open_snapshot(request: Request, asked: OpenRequest) -> Response:
    """Queries that name it as `snapshot` are answered from it, for five minutes or until the next swap.

    A large one takes seconds to fetch. Takes the setting `LOOKALIKE_CONSOLE__PAST_SNAPSHOTS`.
    """
    check_operator(request_context(request.scope))
    try:
        loaded = await runtime_of(request).archive.open(asked.snapshot, asked.as_of)
    except LookalikeError as error:
        raise as_operators_problem(error) from error
    manifest = loaded.manifest
    found = OpenedReply(
        snapshot=manifest.id,
        created_at=manifest.created_at,
        products=manifest.products,
        encoder=manifest.encoder.name,
        quality=manifest.quality,
    )
    return reply(found)


@router.put(
    "/pins/{snapshot}",
    operation_id="pin",
    summary="Keep a snapshot",
    response_model=PinReply,
    responses=_MOVED,
)
async def pin(request: Request, snapshot: str, asked: PinRequest) -> Response:
    """Garbage collection leaves it until it is unpinned. An earlier pin stays as it is."""
    move = partial(runtime_of(request).moves.pin, snapshot, note=asked.note)
    return reply(PinReply.model_validate(await _move(request, f"pin {snapshot}", move)))


@router.delete("/pins/{snapshot}", operation_id="unpin", summary="Let a snapshot go", status_code=204, responses=_MOVED)
async def unpin(request: Request, snapshot: str) -> Response:
    """Garbage collection takes it when its time comes. One that is not pinned is no error."""
    moves = runtime_of(request).moves
    await _move(request, f"unpin {snapshot}", lambda actor: moves.unpin(snapshot))
    return Response(status_code=204)


async def _read(request: Request, read: Callable[[], T]) -> T:
    check_operator(request_context(request.scope))
    return await read_store(read)


async def _move(request: Request, action: str, move: Callable[..., T]) -> T:
    """Do what changes the store in the caller's name; note in the audit log how it ended."""
    asked, runtime = request_context(request.scope), runtime_of(request)
    check_operator(asked)
    try:
        done = await read_store(lambda: move(actor=_name(asked.caller)))
    except ProblemError as problem:
        runtime.audit.act(asked, action, problem.code)
        raise
    runtime.audit.act(asked, action, "done")
    await runtime.reloads.ask()  # servers of this machine look at once
    return done


async def read_store(function: Callable[[], T]) -> T:
    """Do what waits for the store. Raises `ProblemError`, in words for operators."""
    try:
        return await in_thread(function, name="store of an operator")
    except LookalikeError as error:
        raise as_operators_problem(error) from error


def _name(caller: Caller) -> str:
    """Return who is named in a channel's history: a key by its name and id, a token by its subject."""
    if caller.kind == "anonymous":
        return ""  # a program of this machine: the account that serves
    return f"{caller.name} ({caller.kind} {caller.id})" if caller.name else f"{caller.kind} {caller.id}"
