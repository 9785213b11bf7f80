"""Durations as people write them: 90s, 30m, 24h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta

from lookalike.data.errors import InputError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WRITTEN = re.compile(r"(\d{1,9})([smhd])")


def duration(text: str) -> timedelta:
    """Return the duration that `text` says. Raises `InputError`."""
    found = _WRITTEN.fullmatch(text.strip())
    if not found:
        raise InputError(f"{text!r} is no duration: write a number and a unit, such as 90s, 30m, 24h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
