"""The interactive documentation: Swagger UI from its CDN, under a policy that lets in nothing else."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

CDN = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> Response:
    """Every route to try out."""
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


def _page() -> str:
    html = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Lookalike",
        swagger_js_url=f"{CDN}swagger-ui-bundle.js",
        swagger_css_url=f"{CDN}swagger-ui.css",
        swagger_favicon_url="/static/favicon.svg",
    )
    return bytes(html.body).decode()


def _policy(page: str) -> str:
    """Let the page's own script run by its hash: no other inline script does."""
    scripts = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _inline(page)]
    hashes = " ".join(f"'sha256-{text}'" for text in scripts)
    return (
        f"default-src 'none'; script-src {CDN} {hashes}; style-src {CDN} 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _inline(page: str) -> list[str]:
    return [text for text in re.findall(r"<script>(.*?)</script>", page, re.DOTALL) if text]


_PAGE = _page()
_POLICY = _policy(_PAGE)
