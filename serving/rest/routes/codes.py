"""The page that a problem's `type` leads to: every code, and what to do about it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from lookalike.serving.errors import ERROR_CODES
from lookalike.serving.rest.pages import page, text
from lookalike.serving.rest.problems import PAGE

router = APIRouter(include_in_schema=False)


@router.get(PAGE)
async def problems() -> Response:
    """The same for every caller, and open to all."""
    sections = [
        f'<section id="{code}"><h2><code>{code}</code></h2>'
        f"<p>{known.status} · {text(f'{known.title}. {known.help}')}</p></section>"
        for code, known in ERROR_CODES.items()
    ]
    return page("Problems", f"<h1>Problems</h1>{''.join(sections)}")
