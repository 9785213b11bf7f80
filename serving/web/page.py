"""The search page and its files: nothing of it comes from elsewhere."""

from __future__ import annotations

import html
import json
from functools import cache, lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.serving.errors import ProblemError
from lookalike.serving.runtime import Runtime
from lookalike.serving.web.assets import VALIDATED, Asset, Assets

STATIC = Path(__file__).parent / "static"
# `form-action`: before the modules are there, a look-up is a form that leads to `?find=`
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
WIDGET = "lookalike-search.js"
"""The element for a shop's own pages."""

LIMITS = ("k", "offset", "examples", "queries", "facets")
"""The limits of a request that the pages keep to."""

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """The search page."""
    return _respond_page(request, "index.html")


@router.get("/console")
async def console(request: Request) -> Response:
    """The console of operators: the page is for everybody, what it shows takes the scope `admin`."""
    return _respond_page(request, "console.html")


@router.get("/static/{path:path}")
async def static(request: Request, path: str) -> Response:
    """A file of the page. Pages of other sites may load the widget, and nothing else."""
    found = _assets().find(path)
    if found is None:
        raise ProblemError("not_found", "There is no such file of the search page.")
    asset, cached = found
    headers = {"cache-control": cached}
    if path.rpartition("/")[2] == WIDGET:
        headers["cross-origin-resource-policy"] = "cross-origin"
    if asset.media_type.startswith("text/html"):
        headers["content-security-policy"] = POLICY
    return asset.respond(request, headers)


@cache
def _assets() -> Assets:
    return Assets(STATIC)


@lru_cache
def _page(name: str, limits: str) -> Asset:
    page = _assets().name_versions(name)
    written = f'name="limits" content="{html.escape(limits)}"'
    return Asset(page.content.replace(b'name="limits" content="{}"', written.encode()), page.media_type)


def _respond_page(request: Request, name: str) -> Response:
    """Send a page with what it may ask of this server, as `limits.js` reads it.

    `words` is false where the snapshot has no words to suggest: browsers log each refusal as an error.
    """
    runtime: Runtime = request.app.state.runtime
    limits, served = runtime.settings.limits, runtime.follower.current
    has_words = served is None or served.searcher.words is not None
    written = json.dumps({**{limit: getattr(limits, f"max_{limit}") for limit in LIMITS}, "words": has_words})
    headers = {"content-security-policy": POLICY, "cache-control": VALIDATED}
    return _page(name, written).respond(request, headers)
