"""Imports: what modules are made of stays, so the garbage collector gains nothing by looking through it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports_uncollected() -> Iterator[None]:
    """Import without the collector, which would look through all modules several times while they come.

    What is there at the end is left out of later collections, too: the pauses of these grow with what they look at.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
