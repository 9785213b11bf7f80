"""What a running server reports: metrics, logs, and its release."""

from __future__ import annotations

from functools import cache
from importlib import metadata

ACCESS = "lookalike.access"
"""The logger of a line for each request."""
AUDIT = "lookalike.audit"
"""The logger of admin acts and refusals."""
UNKNOWN = "0+unknown"


def version() -> str:
    """Return the installed release, or `0+unknown` where the code runs without being installed."""
    return installed("lookalike")


@cache
def installed(package: str) -> str:
    """Return the release of an installed package, or `0+unknown`."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return UNKNOWN
