"""Administration: what takes the scope `admin`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.serving.access.refusals import missing_scope
from lookalike.serving.context import AccessScope
from lookalike.serving.rest.replies import reply
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.routes.common import problems, runtime_of
from lookalike.serving.rest.schema import ReloadReply

router = APIRouter(tags=["admin"])


@router.post(
    "/v1/admin/reload",
    operation_id="reload",
    summary="Look at the channel now",
    status_code=202,
    response_model=ReloadReply,
    responses=problems(),
)
async def reload(request: Request) -> Response:
    """All server processes of this machine do, within a second; one that was refused is tried again."""
    runtime, asked = runtime_of(request), request_context(request.scope)
    if AccessScope.ADMIN not in asked.caller.scopes:  # admission saw to it: this holds should its policy ever be wrong
        raise missing_scope(AccessScope.ADMIN, asked.caller.id)
    runtime.audit.act(asked, "reload", "accepted")
    await runtime.reloads.ask()
    serving = runtime.follower.current
    return reply(ReloadReply(snapshot=serving.manifest.id if serving else None), 202)
