"""Pages for people that need no other file: their style is inside, under a policy that lets in nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape

from starlette.responses import HTMLResponse, Response

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


def page(title: str, body: str) -> Response:
    """Return a page; `body` is HTML."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    html = f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'
    return HTMLResponse(html, headers=_HEADERS)


def text(words: str) -> str:
    """Return words as HTML, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(words))
