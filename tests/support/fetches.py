"""Fetching in tests: the host that only they know, and why a fetch failed."""

from __future__ import annotations

import os
import pickle

import pytest

from lookalike.data.errors import FetchError
from lookalike.data.fetch import addresses, connections
from lookalike.data.fetch.addresses import shown
from lookalike.data.fetch.client import fetch
from lookalike.data.fetch.policy import FetchPolicy

HOST = "pictures.test"


def forget() -> None:
    """Let nothing of what this process has looked up or connected be known any more."""
    addresses._answers.clear()
    connections._pools(os.getpid()).clear()


def reason(url: str, allowed: FetchPolicy, max_bytes: int | None = None) -> str:
    """Return why this cannot be fetched. The error names the URL without secrets, and survives pickling."""
    with pytest.raises(FetchError) as caught:
        fetch(url, allowed, max_bytes=max_bytes)
    assert str(caught.value).startswith(shown(url))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value.reason
