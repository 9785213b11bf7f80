"""A snapshot that is served: opened, proven and counted by the queries that use it.

The last good one is noted beside the cached blobs, so that a server can start while the store is away.
"""

from __future__ import annotations

import io
import json
import logging
import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from lookalike.data.errors import LookalikeError
from lookalike.data.snapshots.channels import Entry
from lookalike.data.snapshots.manifest import Manifest, parse_manifest
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.search.searcher import Searcher

_log = logging.getLogger(__name__)


def blank_picture() -> bytes:
    """Return a small picture that every encoder must be able to encode."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 120, 60)).save(buffer, "PNG")
    return buffer.getvalue()


BLANK = blank_picture()


@dataclass(eq=False)
class LoadedSnapshot:
    """One snapshot in memory. `queries` are using it now, and `pins` want to.

    When it is retired it is let go when its queries have ended, and after `retained_until`, on the monotonic clock;
    where there are pins, after `pinned_until`.
    """

    searcher: Searcher
    entry: Entry
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    queries: int = 0
    pins: int = 0
    retained_until: float = 0.0
    pinned_until: float = 0.0

    @property
    def manifest(self) -> Manifest:
        """What the snapshot is made of."""
        return self.searcher.manifest

    def is_wanted(self, now: float) -> bool:
        """Tell whether a retired snapshot is kept for those who may ask for it by name."""
        return now < (max(self.retained_until, self.pinned_until) if self.pins else self.retained_until)


def prove(searcher: Searcher) -> None:
    """Send a picture, a product and a text through a snapshot before anybody depends on it. Raises what goes wrong."""
    searcher.search(searcher.embed(BLANK), 1)
    if searcher.texts is not None:
        searcher.texts.search(searcher.texts.embed("a text"), 1)
    if searcher.tower is not None:
        vectors = encode_texts(searcher.tower.encoder, ["a text"])
        searcher.nearest(searcher.tower.find_directions(vectors)[0], 1)
    searcher.similar(searcher.products.any_id(), 1)


@dataclass(frozen=True, slots=True)
class Published:
    """A channel's entry and the manifest of the snapshot that it points at."""

    entry: Entry
    manifest: Manifest


class LastGood:
    """One small JSON file, replaced in one step."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def save(self, published: Published) -> None:
        """Note what is being served."""
        document = {
            "entry": published.entry.model_dump(mode="json"),
            "manifest": published.manifest.model_dump(mode="json"),
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        temporary = self._file.with_name(f"{self._file.name}.{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
        finally:
            temporary.unlink(missing_ok=True)

    def load(self) -> Published | None:
        """Return what was served last, or None where nothing usable is noted."""
        try:
            document = json.loads(self._file.read_bytes())
            entry = Entry.model_validate(document["entry"])
            manifest = parse_manifest(json.dumps(document["manifest"]).encode(), self._file.name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, LookalikeError) as error:
            _log.warning("the note of the last good snapshot, %s, cannot be used: %s", self._file, error)
            return None
        return Published(entry, manifest)
