"""Administration: what takes the scope `admin`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.serving.access.audit import Audit
from lookalike.serving.access.refusals import missing_scope
from lookalike.serving.context import AccessScope, context
from lookalike.serving.live.reload import Reloads
from lookalike.serving.rest.replies import reply
from lookalike.serving.rest.routes.common import problems, service_of
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
    caller = context(request.scope).caller
    if AccessScope.ADMIN not in caller.scopes:  # the gate saw to it: this holds should its policy ever be wrong
        raise missing_scope(AccessScope.ADMIN, caller.id)
    audit: Audit = request.app.state.audit
    reloads: Reloads = request.app.state.reloads
    audit.act(request.scope, caller, "reload", "accepted")
    await reloads.ask()
    serving = service_of(request).follower.current
    return reply(ReloadReply(snapshot=serving.manifest.id if serving else None), 202)
