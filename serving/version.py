"""The release that is running."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """Return the installed release, or `0+unknown` where the code runs without being installed."""
    try:
        return installed("lookalike")
    except PackageNotFoundError:
        return "0+unknown"
