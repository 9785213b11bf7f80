"""A snapshot in memory: opened, proven, and counted by the queries that use it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime

from PIL import Image

from lookalike.data.snapshots.channels import Entry
from lookalike.data.snapshots.manifest import Manifest
from lookalike.tasks.search.searcher import Searcher


def blank_picture() -> bytes:
    """Return a small picture that every encoder must be able to encode."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 120, 60)).save(buffer, "PNG")
    return buffer.getvalue()


BLANK = blank_picture()


@dataclass(eq=False)
class LoadedSnapshot:
    """One snapshot in memory. `queries` are using it now.

    When it is retired it is let go after `retained_until`, on the monotonic clock, and when its queries have ended.
    """

    searcher: Searcher
    entry: Entry
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    queries: int = 0
    retained_until: float = 0.0

    @property
    def manifest(self) -> Manifest:
        """What the snapshot is made of."""
        return self.searcher.manifest


def prove(searcher: Searcher) -> None:
    """Send a picture and a product through a snapshot before anybody depends on it. Raises what goes wrong."""
    searcher.search(searcher.embed(BLANK), 1)
    searcher.similar(searcher.products.any_id(), 1)
