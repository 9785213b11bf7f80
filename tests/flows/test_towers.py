"""An encoder of pictures that knows texts, too: one unit through reindexes and refreshes, measured by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.tower import read_centre
from tests.flows.conftest import Reindex
from tests.support.towers import COLOURS, TWO_TOWERS

pytestmark = [pytest.mark.services, pytest.mark.slow]


def write(folder: Path, count: int, first: int = 0) -> Path:
    """Write products whose titles name their colours, and every fourth one without a title."""
    rows: list[dict[str, Any]] = []
    for number in range(first, count):
        image = folder / f"{number:03}.png"
        picture = Image.new("RGB", (64, 64), COLOURS[number % 6])
        ImageDraw.Draw(picture).rectangle((number % 50, number // 4, number % 50 + 6, number // 4 + 6), fill="white")
        picture.save(image)
        title = f"{COLOURS[number % 6]} thing {number}" if number % 4 else ""
        rows.append({"id": f"{COLOURS[number % 6]}-{number}", "title": title, "image": str(image)})
    path = folder / "shop.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def find(folder: Path, colour: str, k: int = 5) -> list[str]:
    """Return the colours of what a text finds that is like a title."""
    searcher = Searcher.open(open_store(str(folder / "store")), current(folder), BlobCache(folder / "cache"), threads=1)
    assert searcher.tower is not None
    direction = searcher.tower.find_directions(encode_texts(searcher.tower.encoder, [f"{colour} thing 1"]))[0]
    return [hit.product.id.partition("-")[0] for hit in searcher.hits(searcher.nearest(direction, k))]


def test_a_catalogue_whose_encoder_has_two_towers(run: Reindex, refresh: Reindex, tmp_path: Path) -> None:
    catalogue = write(tmp_path, 200)
    assert run(catalogue, encoder=TWO_TOWERS, shards=2).state == "published"

    manifest, store = current(tmp_path), open_store(str(tmp_path / "store"))
    text, projection = manifest.encoder.text, manifest.image.projection
    assert text is not None
    assert (text.fingerprint, text.dimension) == (manifest.encoder.fingerprint, manifest.encoder.dimension)
    assert projection is not None
    assert projection.centre is not None
    centre = read_centre(blobs.read(store, projection.centre), text.dimension)
    assert 0 < np.linalg.norm(centre) < 1
    assert verify(store, manifest) == []
    assert manifest.quality["tower_recall_at_10"] == 1.0
    assert manifest.quality["tower_title_hits_at_10"] > 0.2  # some 33 have each colour, and the titles say no more
    # by chance it were a sixth; whitening makes much of where the white boxes are, which no text names
    assert np.mean([found == colour for colour in COLOURS for found in find(tmp_path, colour)]) > 0.5
    answers = find(tmp_path, "purple", 20)

    # a refresh keeps the towers, their centre and what was measured
    write(tmp_path, 203)
    assert refresh(catalogue, encoder=None).kind == "refresh"
    after = current(tmp_path)
    assert after.shards[-1].delta
    assert (after.encoder, after.image.projection) == (manifest.encoder, projection)
    assert after.quality["tower_recall_at_10"] == 1.0
    assert len(find(tmp_path, "purple", 203)) == 203

    # so does the next full build, as long as it keeps the projection: scores of texts stay what they are
    assert run(catalogue, encoder=None, shards=2).state == "published"
    assert current(tmp_path).image.projection == projection
    write(tmp_path, 200)
    assert run(catalogue, encoder=None, shards=2).state == "published"
    assert find(tmp_path, "purple", 20) == answers
