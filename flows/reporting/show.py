"""What artifacts share: one that cannot be shown fails nothing, Markdown shows what catalogues say as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from lookalike.flows.runtime.logs import run_log

LONGEST_CELL = 200
NOTHING = "—"

# as few as possible: Prefect's newer UI shows cells as they are, backslashes and all
_MARKDOWN = re.compile(r"([\\`*<\[]|(?<![^\W_])_|_(?![^\W_]))")
_NOT_A_KEY = re.compile(r"[^a-z0-9]+")

P = ParamSpec("P")


def for_show(function: Callable[P, None]) -> Callable[P, None]:
    """Log it where an artifact cannot be made, and go on: the run has done its work."""

    @wraps(function)
    def show(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except (httpx.HTTPError, PrefectHTTPStatusError, OSError, ValueError) as error:
            run_log(__name__).warning("artifacts: %s could not be shown: %s", function.__name__, error)

    return show


def artifact_key(name: str, channel: str) -> str:
    """Return the key of a channel's artifact, of letters, digits and dashes as Prefect wants it."""
    return f"{name}-{_NOT_A_KEY.sub('-', channel).strip('-')}"


def plain(text: str) -> str:
    """Return text that shows as it is where Markdown is understood."""
    return _MARKDOWN.sub(r"\\\1", text.replace("\n", " "))


def cell(text: str) -> str:
    """Return text that shows as it is in a cell of a table, cut where it is too long to read."""
    return plain(text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…")


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Return bytes as people say them."""
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
