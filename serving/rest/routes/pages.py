"""Pages for people: the interactive documentation, and what each problem's `type` leads to.

A page needs no other file: its style is inside, under a policy that lets in nothing else. The documentation alone has
files of its own (`serving/web/docs.py`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError
from lookalike.serving.replies import PROBLEMS
from lookalike.serving.web.docs import FILES, SWAGGER, write_docs

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
section { margin: 1.5rem 0; }
section:target { outline: 2px solid #4f46e5; outline-offset: .6rem; border-radius: 4px; }
h1, h2 { line-height: 1.25; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
meter { width: 8rem; }
code { font: .95em ui-monospace, monospace; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}
_CODE = re.compile(r"`([^`]+)`")

router = APIRouter(include_in_schema=False)


def page(title: str, body: str) -> Response:
    """Return a page; `body` is HTML."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    html = f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'
    return HTMLResponse(html, headers=_HEADERS)


def text(words: str) -> str:
    """Return words as HTML, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(words))


@router.get(PROBLEMS)
async def problems() -> Response:
    """The same for every caller, and open to all."""
    sections = [
        f'<section id="{code}"><h2><code>{code}</code></h2>'
        f"<p>{known.status} · {text(f'{known.title}. {known.help}')}</p></section>"
        for code, known in ERROR_CODES.items()
    ]
    return page("Problems", f"<h1>Problems</h1>{''.join(sections)}")


@router.get("/docs")
async def docs() -> Response:
    """Every route to try out."""
    if len(SWAGGER) == len(FILES):
        return write_docs()
    words = text("`pip install fastapi-swagger` brings Swagger UI, which shows all routes here. For programs there is")
    return page("Routes", f'<h1>Routes</h1><p>{words} <a href="openapi.json">openapi.json</a>.</p>')


@router.get("/static/swagger-ui/{name}")
async def swagger(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in SWAGGER:
        raise ProblemError("not_found", "There is no such file here.")
    return FileResponse(SWAGGER[name], headers={"cache-control": "no-cache"})
