"""Texts beside pictures: encoded once, found by what they mean, and in step through reindexes and refreshes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import TEXT, Manifest
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.tasks.encoders.texts import registry
from lookalike.tasks.search.searcher import Searcher
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing

pytestmark = [pytest.mark.services, pytest.mark.slow]

WORDS = ("red", "blue", "green", "yellow", "black", "white")
THINGS = ("shoe", "hat", "bag", "coat", "lamp", "chair", "table", "spoon")


@pytest.fixture
def shop(tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of a catalogue of 48 products, each with a title of its own, the last two without any."""
    rows = []
    for number in range(50):
        image = tmp_path / f"{number:02}.png"
        drawing(number).save(image)
        title = f"{WORDS[number % 6]} {THINGS[number % 8]} {number // 24}" if number < 48 else " "
        rows.append({"id": f"p{number}", "title": title, "image": str(image), "price": number, "brand": "acme"})
    return rows


@pytest.fixture
def catalogue(tmp_path: Path, shop: list[dict[str, Any]]) -> Path:
    return write(tmp_path, shop)


def write(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path = folder / "shop.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def find(folder: Path, text: str, k: int = 3) -> list[str]:
    searcher = Searcher.open(open_store(str(folder / "store")), current(folder), BlobCache(folder / "cache"), threads=1)
    assert searcher.texts is not None
    _, rows = searcher.texts.search(searcher.texts.embed(text), k)
    return [product.id for product in searcher.products.take(rows)]


def list_vectors(folder: Path) -> set[str]:
    store, text = open_store(str(folder / "store")), current(folder).text
    assert text is not None
    return {found.key for found in store.list(f"embeddings/{text.encoder.fingerprint}/")}


def test_a_catalogue_with_texts(
    run: Reindex, refresh: Reindex, tmp_path: Path, catalogue: Path, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(catalogue, text_encoder="fake", shards=2).state == "published"

    manifest = current(tmp_path)
    assert manifest.text is not None
    assert (manifest.text.fields, manifest.text.index.key, manifest.requires) == (("title",), "Flat", ())
    assert manifest.quality["text_recall_at_10"] == 1.0
    assert verify(open_store(str(tmp_path / "store")), manifest) == []
    assert find(tmp_path, "green bag 1")[0] == "p26"
    assert not {"p48", "p49"} & set(find(tmp_path, "green bag 1", 100))
    embedded = list_vectors(tmp_path)

    # a night with other prices encodes nothing, keeps the files of the index, and needs no package of weights
    write(tmp_path, [{**row, "price": row["price"] + 1} for row in shop])
    with monkeypatch.context() as away:
        away.setitem(registry.HIDDEN, "fake", "no.such:Encoder")
        assert run(catalogue, shards=2).state == "published"
    after = current(tmp_path)
    assert list_vectors(tmp_path) == embedded
    assert [one.spaces[TEXT] for one in after.shards] == [one.spaces[TEXT] for one in manifest.shards]

    # a refresh: a new title, a product that went, and one that gets its first title
    changed = [{**row, "price": row["price"] + 1} for row in shop]
    changed[0]["title"] = "purple umbrella"
    changed[49]["title"] = "tiny telescope"
    gone = changed.pop(26)
    write(tmp_path, changed)
    report = refresh(catalogue)
    assert (report.kind, report.state) == ("refresh", "published")
    assert current(tmp_path).text is not None
    assert find(tmp_path, "purple umbrella")[0] == "p0"
    assert find(tmp_path, "tiny telescope")[0] == "p49"
    assert gone["id"] not in find(tmp_path, "green bag 1", 100)
    assert len(find(tmp_path, "green bag 1", 100)) <= 48
    answers = find(tmp_path, "white lamp", 20)

    # the next full build folds the delta in, and gives the same answers
    assert run(catalogue, shards=2).state == "published"
    assert not any(shard.delta for shard in current(tmp_path).shards)
    assert find(tmp_path, "white lamp", 20) == answers

    # other fields are another space, which a refresh cannot make
    assert refresh(catalogue, text_fields="brand").kind == "reindex"
    assert len(find(tmp_path, "acme", 100)) == 49


def test_a_catalogue_without_any_text(run: Reindex, tmp_path: Path, shop: Any) -> None:
    catalogue = write(tmp_path, [{**row, "title": None} for row in shop])

    assert run(catalogue, text_encoder="fake").state == "published"
    assert current(tmp_path).text is None
    assert run(catalogue, text_encoder="fake").state == "unchanged"
