"""Memory: pixels and snapshots go back to the system as soon as they are done with."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

import pyarrow as pa

LARGE = 3 * 2**20
"""Bytes from which a block is mapped on its own, and unmapped when it is freed.

What a search needs for a moment is smaller. Each page of a block that is mapped anew costs an interrupt.
"""
KEPT = 4 * 2**20
"""Bytes that may stay free at the end of an arena for the next search or picture."""
ARENAS = 2

_M_TRIM_THRESHOLD = -1  # from malloc.h
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def give_back_memory() -> None:
    """Let glibc map the largest blocks, Arrow's too; where there is another C library, nothing happens.

    By itself glibc takes the first large block that is freed as a sign that more will come, and keeps up to 32 MB a
    time: under pictures of all sizes, in several threads, a server then grows for hours though nothing is leaked.
    Arrow's own allocator keeps most of what one snapshot's columns took when the next one is opened.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT)
        library.mallopt(_M_ARENA_MAX, ARENAS)
        pa.set_memory_pool(pa.system_memory_pool())
