"""Results as HTML, for notebooks: each text is escaped, and pictures stand in the page, because they may need a key."""

from __future__ import annotations

import base64
import time
from html import escape
from typing import Any

from lookalike_client.errors import LookalikeError
from lookalike_client.results import Product, SearchResult

PICTURES = 12
"""So many are fetched at most, and in so many seconds: a notebook is not to wait for more."""
SECONDS = 5.0
SIZE = 128
_CELL = "display:inline-block;width:150px;margin:4px;vertical-align:top;overflow-wrap:anywhere;font:12px sans-serif"


def write_table(result: SearchResult[Any]) -> str:
    """Return the hits with their pictures; hits of an `AsyncClient` have none, because nothing may wait for them."""
    deadline = time.monotonic() + SECONDS
    cells = []
    for place, hit in enumerate(result.hits):
        can_fetch = place < PICTURES and isinstance(hit, Product) and time.monotonic() < deadline
        shown = _picture(hit) if can_fetch else ""
        cells.append(
            f'<div style="{_CELL}">{shown}<div><b>{hit.score:.3f}</b> {escape(hit.title)}</div>'
            f"<div><code>{escape(hit.id)}</code></div></div>"
        )
    head = f"{len(result.hits)} hits of snapshot {escape(result.snapshot)}, {result.took_ms:.0f} ms"
    return f"<div><div>{head}</div>{''.join(cells)}</div>"


def _picture(hit: Product) -> str:
    try:
        content = hit.image(size=SIZE)
    except LookalikeError:
        return ""
    data = base64.b64encode(content).decode("ascii")
    style = f"max-width:{SIZE}px;max-height:{SIZE}px"
    return f'<img alt="{escape(hit.title)}" style="{style}" src="data:image/jpeg;base64,{data}">'
