"""Every format that was ever released opens, and nothing damaged does: not a single bit of it."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from lookalike.data.errors import (
    CorruptError,
    LookalikeError,
    OutdatedFormatError,
    SnapshotNotFoundError,
    StoreError,
    UnsupportedFormatError,
)
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.documents import FORMAT_VERSION, MARKER, checksum
from lookalike.data.snapshots.gc import Retention, collect
from lookalike.data.snapshots.manifest import (
    Manifest,
    ProjectionSection,
    SpaceSection,
    content_hash,
    find_needs,
    parse_manifest,
)
from lookalike.data.snapshots.publishing import publish
from lookalike.data.snapshots.store import list_summaries, read_manifest, verify
from lookalike.data.stores.local import LocalStore
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.search.searcher import Searcher
from tests.support.snapshots import draft

FORMATS = Path(__file__).parents[1] / "formats"
NEWEST = FORMATS / str(FORMAT_VERSION)
BEFORE = FORMATS / "before-1" / "store"


def files(folder: Path = NEWEST / "store") -> list[str]:
    """Return the names of all that a reader of the snapshot needs: all but the store's marker."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if name != MARKER]


def open_current(folder: Path, cache: Path) -> Searcher:
    """Open what the channel points at as a server does that has nothing yet."""
    store = LocalStore(folder)
    manifest = read_manifest(store, Channel(store).current().snapshot)
    return Searcher.open(store, manifest, BlobCache(cache), threads=1)


@pytest.mark.parametrize("version", sorted(path.name for path in FORMATS.glob("[0-9]*")))
def test_a_released_format_opens_and_answers(version: str, tmp_path: Path) -> None:
    expected = json.loads((FORMATS / version / "expected.json").read_text())
    store = LocalStore(FORMATS / version / "store")
    searcher = open_current(FORMATS / version / "store", tmp_path)
    assert searcher.manifest.id == expected["snapshot"]
    assert verify(store, searcher.manifest) == []
    vector = np.arange(1, searcher.manifest.encoder.dimension + 1, dtype=np.float32)
    hits = searcher.search(vector, 5)
    assert [hit.product.id for hit in hits] == [hit["id"] for hit in expected["hits"]]
    assert [hit.score for hit in hits] == pytest.approx([hit["score"] for hit in expected["hits"]], abs=1e-4)
    assert hits[0].product.attributes == expected["hits"][0]["attributes"]
    assert [hit.view for hit in hits] == [hit.get("view") for hit in expected["hits"]]
    for text, found in expected.get("texts", {}).items():
        assert searcher.words is not None
        query = searcher.words.query(text)
        rows = query.candidates(10, None)
        assert [product.id for product in searcher.products.take(rows)] == [one for one, _ in found], text
        assert query.scores(rows).tolist() == pytest.approx([score for _, score in found], abs=1e-5)
    for text, found in expected.get("meanings", {}).items():
        assert searcher.texts is not None
        scores, rows = searcher.texts.search(searcher.texts.embed(text), 10)
        assert [product.id for product in searcher.products.take(rows)] == [one for one, _ in found], text
        assert scores.tolist() == pytest.approx([score for _, score in found], abs=1e-4)


def test_the_newest_format_is_among_them() -> None:
    assert NEWEST.is_dir()


class TestBeforeTheFirstRelease:
    """A store from before the format was folded into one: refused with what to do, kept by gc, built upon again."""

    def test_it_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(OutdatedFormatError, match=r"before the first release.*run `lookalike reindex`"):
            open_current(BEFORE, tmp_path)
        (row,) = list_summaries(LocalStore(BEFORE), "current")
        assert "run `lookalike reindex`" in (row.problem or "")

    def test_the_channel_goes_on_and_gc_keeps_what_it_may_go_back_to(self, tmp_path: Path) -> None:
        shutil.copytree(BEFORE, tmp_path / "store")
        store = LocalStore(tmp_path / "store")
        before = {found.key for found in store.list("")}
        channel = Channel(store)
        entry = publish(channel, draft(store, [1]), after=channel.latest(), reason="reindexed")
        assert entry.number == 2
        assert collect(store, Retention(entries=2, grace=timedelta(seconds=-5))).objects == []
        collect(store, Retention(entries=1, grace=timedelta(seconds=-5)))
        left = {found.key for found in store.list("")}
        assert before & left == {key for key in before if key.startswith("channels/")}


def flipped(data: bytes, seed: str) -> bytes:
    place = random.Random(seed).randrange(8 * len(data))
    return data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]


def swapped(name: str) -> bytes:
    """Return another file's bytes: the next one of the same kind, or another snapshot's."""
    others = [other for other in files() if other.split("/")[0] == name.split("/", maxsplit=1)[0] and other != name]
    if others:
        return (NEWEST / "store" / others[0]).read_bytes()
    other = draft(MemoryStore(), [1])
    if name.startswith("snapshots/"):
        return other.to_json()
    return Channel(MemoryStore(), "canary").move(other.id, after=None, reason="x").to_json()


DAMAGES: dict[str, Callable[[str, bytes], bytes | None]] = {
    "a flipped bit": lambda name, data: flipped(data, name),
    "another flipped bit": lambda name, data: flipped(data, f"{name} again"),
    "truncated": lambda _, data: data[:-1],
    "emptied": lambda *_: b"",
    "deleted": lambda *_: None,
    "swapped": lambda name, _: swapped(name),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", files())
def test_a_damaged_file_is_refused_by_name(name: str, damage: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(NEWEST / "store", store)
    path = store / name
    data = DAMAGES[damage](name, path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises((CorruptError, StoreError, SnapshotNotFoundError)) as caught:
        open_current(store, tmp_path / "cache")
    wanted = {"channels": "channel", "snapshots": name.split("/")[1], "objects": name}[name.split("/", maxsplit=1)[0]]
    assert wanted in str(caught.value)


@pytest.mark.parametrize("folder", ["snapshots", "channels"])
def test_no_single_bit_of_a_document_may_flip(folder: str) -> None:
    (name,) = (name for name in files() if name.startswith(folder))
    data = (NEWEST / "store" / name).read_bytes()
    read: Callable[[bytes, str], Manifest | Entry] = parse_manifest if folder == "snapshots" else Entry.from_json
    read(data, name)
    for place in range(8 * len(data)):
        bad = data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]
        with pytest.raises((CorruptError, UnsupportedFormatError), match=re.escape(name)):
            read(bad, name)


def sealed(**fields: object) -> bytes:
    document = {**json.loads((NEWEST / "store" / files()[-1]).read_bytes()), **fields}
    return json.dumps({**document, "checksum": checksum(document)}).encode()


class TestManifests:
    def test_a_newer_format_is_told_with_the_version_that_it_needs(self) -> None:
        with pytest.raises(UnsupportedFormatError, match="format version 2, this release reads 1: upgrade"):
            parse_manifest(sealed(format=2), "m")

    @pytest.mark.parametrize(
        "fields",
        [
            {"id": "../../etc/passwd"},
            {"shards": []},
            {"content": "0" * 64},
            {"catalogue": {"id": "../x", "uri": "u", "products": 1}},
            {"spaces": {}},
            {"spaces": {"image": {"encoder": {}, "index": {}}}},
            {"spaces": {"image": {"encoder": {"spec": {"sha256": "../x", "size": 1}}, "index": {}}}},
            {"spaces": {"text": {}}},
            {"spaces": []},
            {"quality": {"recall_at_10": "high"}},
            {"created_at": "yesterday"},
        ],
    )
    def test_fields_that_make_no_sense_are_damage(self, fields: dict[str, object]) -> None:
        with pytest.raises(CorruptError, match=r"^m is damaged"):
            parse_manifest(sealed(**fields), "m")

    @pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"format": 1}'])
    def test_what_is_no_document_is_damage(self, data: bytes) -> None:
        with pytest.raises(CorruptError, match=r"^m is damaged"):
            parse_manifest(data, "m")

    def test_fields_of_a_later_release_of_the_same_format_are_passed_over(self) -> None:
        assert parse_manifest(sealed(later="something"), "m").format == FORMAT_VERSION

    @pytest.mark.parametrize("requires", [5, None, "views", [{}], [["views"]]])
    def test_requirements_that_are_no_list_of_names_are_damage(self, requires: object) -> None:
        with pytest.raises(CorruptError, match=r"^m is damaged"):
            parse_manifest(sealed(requires=requires), "m")

    def test_a_bad_blob_in_a_field_that_nobody_here_knows_is_damage(self) -> None:
        with pytest.raises(CorruptError, match=r"^m is damaged"):
            parse_manifest(sealed(later={"sha256": "../x", "size": 1}), "m")

    @pytest.mark.parametrize("feature", ["patches", "text", "projection:curved"])
    def test_what_it_requires_and_nobody_here_knows_is_named(self, feature: str) -> None:
        with pytest.raises(UnsupportedFormatError, match=f"^m requires '{feature}', which this release does not know"):
            parse_manifest(sealed(requires=[feature]), "m")

    @pytest.mark.parametrize(("kind", "requires"), [("whitening", ()), ("distortions", ("projection:distortions",))])
    def test_a_projection_says_how_it_was_learnt(self, kind: str, requires: tuple[str, ...]) -> None:
        manifest = draft(MemoryStore(), ["a"])
        space = SpaceSection.of(manifest.encoder, manifest.shards[0].index, manifest.index, kind=kind)
        made = Manifest.of(
            *(manifest.catalogue, space, manifest.shards),
            created_at=manifest.created_at,
            code_version="1",
            run=manifest.run,
        )
        assert made.requires == requires
        again = parse_manifest(made.to_json(), "m")
        assert again == made
        assert again.image.projection == ProjectionSection(kind=kind, matrix=manifest.shards[0].index)

    def test_a_kind_of_projection_that_nobody_here_knows_is_applied_as_others_are(self) -> None:
        document = json.loads(sealed())
        matrix = {"sha256": "c" * 64, "size": 1}
        document["spaces"]["image"]["projection"] = {"kind": "of-a-later-release", "matrix": matrix}
        document["content"] = content_hash(document)
        document["id"] = f"20261122T120002Z-{document['content'][:8]}"
        data = json.dumps({**document, "checksum": checksum(document)}).encode()
        assert parse_manifest(data, "m").projection == Blob(sha256="c" * 64, size=1)

    def test_files_of_fields_that_nobody_here_knows_are_kept(self) -> None:
        """A later release may add what old readers need not understand, such as a table of calibration."""
        document = json.loads(sealed())
        table, text = ({"sha256": digit * 64, "size": 1} for digit in "ab")
        document["spaces"]["image"]["calibration"] = table
        document["spaces"]["text"] = {**document["spaces"]["image"], "calibration": text}
        document["content"] = content_hash(document)
        document["id"] = f"20261122T120002Z-{document['content'][:8]}"
        manifest = parse_manifest(json.dumps({**document, "checksum": checksum(document)}).encode(), "m")
        assert {blob.sha256 for blob in manifest.blobs()} > {"a" * 64, "b" * 64}
        assert manifest.named_blobs()["spaces.image.calibration"].sha256 == "a" * 64
        assert Manifest.from_json(manifest.to_json(), "m") == manifest
        assert manifest.needs() == find_needs(document)

    def test_the_order_of_fields_and_white_space_do_not_matter(self) -> None:
        manifest = draft(MemoryStore(), ["ü"])
        document = dict(reversed(list(json.loads(manifest.to_json()).items())))
        assert parse_manifest(json.dumps(document).encode(), "m") == manifest


class TestCache:
    def test_a_cached_blob_is_not_fetched_again_and_outlives_the_store(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "store")
        shutil.copytree(NEWEST / "store", store.root)
        open_current(store.root, tmp_path / "cache")
        manifest = read_manifest(store, Channel(store).current().snapshot)
        shutil.rmtree(store.root)
        cache = BlobCache(tmp_path / "cache")
        Searcher.open(store, manifest, cache, threads=1)
        assert cache.fetched_bytes == 0

    def test_a_damaged_cached_blob_is_fetched_again(self, tmp_path: Path) -> None:
        store = LocalStore(NEWEST / "store")
        manifest = read_manifest(store, Channel(store).current().snapshot)
        blob = manifest.shards[0].index
        path = BlobCache(tmp_path).get(store, blob)
        whole = path.read_bytes()
        for damaged in (flipped(whole, "x"), whole[:-1], b""):
            path.write_bytes(damaged)
            cache = BlobCache(tmp_path)
            assert cache.get(store, blob).read_bytes() == whole
            assert cache.fetched_bytes == blob.size

    def test_only_what_is_not_needed_and_old_goes(self, tmp_path: Path) -> None:
        store = LocalStore(NEWEST / "store")
        manifest = read_manifest(store, Channel(store).current().snapshot)
        cache = BlobCache(tmp_path)
        for blob in manifest.blobs():
            cache.get(store, blob)
        somebodys = tmp_path / "thesis.txt"  # the cache may be set to a folder that has other things in it
        somebodys.write_text("years of work")
        cache.keep_only([])
        assert len(list(tmp_path.iterdir())) == len(set(manifest.blobs())) + 1
        cache.keep_only(manifest.blobs()[:1], grace_seconds=-1)
        assert {path.name for path in tmp_path.iterdir()} == {manifest.blobs()[0].sha256, somebodys.name}

    def test_a_blob_that_is_away_leaves_nothing_behind(self, tmp_path: Path) -> None:
        manifest = draft(MemoryStore(), [1])
        with pytest.raises(LookalikeError):
            BlobCache(tmp_path).get(MemoryStore(), manifest.blobs()[0])
        assert list(tmp_path.iterdir()) == []
