"""The verbs of a snapshot's life, as functions and on the command line: overview, diff, verify, pin, gc, doctor."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lookalike.cli import cli
from lookalike.data.durations import duration
from lookalike.data.errors import AlreadyExistsError, CorruptError, InputError, StoreRefusedError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.diff import diff
from lookalike.data.snapshots.doctor import examine
from lookalike.data.snapshots.manifest import Manifest, ShardSection
from lookalike.data.snapshots.publishing import publish
from lookalike.data.stores import ObjectInfo, ObjectStore, open_store
from lookalike.data.stores.local import LocalStore
from lookalike.data.stores.memory import MemoryStore
from tests.support.faults import WrapperStore
from tests.support.snapshots import draft


def with_products(store: ObjectStore, *shards: list[dict[str, Any]], second: int = 0) -> Manifest:
    """Return a draft whose product files can be read."""
    empty = draft(store, list(range(len(shards))), run=f"run-{second}")
    sections = tuple(
        ShardSection.of(index=section.index, products=blobs.put_bytes(store, parquet(rows)), count=len(rows))
        for section, rows in zip(empty.shards, shards, strict=True)
    )
    created = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    parts = (empty.catalogue, empty.image, sections)
    return Manifest.of(*parts, created_at=created, code_version="0", run=empty.run, quality=empty.quality)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def row(name: str, picture: bytes = b"1", **attributes: Any) -> dict[str, Any]:
    return {"id": name, "title": name, "image_hash": picture * 32, "attributes": {"price": 1.0, **attributes}}


def test_a_diff_says_what_came_went_and_changed() -> None:
    store = MemoryStore()
    same = [row("same-1"), row("same-2", price=float("nan"))]
    old = with_products(store, same, [row("stays", price=float("nan")), row("went"), row("price"), row("picture")])
    new = with_products(
        store,
        same,
        [row("stays", price=float("nan")), row("came"), row("price", price=2.0), row("picture", b"2")],
        second=1,
    )
    found = diff(store, old, new)
    assert (found.came, found.went, found.unchanged) == (["came"], ["went"], 3)
    assert [(change.id, change.fields) for change in found.changed] == [("picture", ["picture"]), ("price", ["price"])]
    assert (found.shared_files, found.new_files) == (5, 1)
    assert found.new_bytes == new.shards[1].products.size
    assert set(found.figures) <= {"bytes"}
    nothing = diff(store, new, new)
    assert (nothing.came, nothing.went, nothing.changed, nothing.new_files) == ([], [], [], 0)
    store.delete(new.shards[1].products.key)
    store.create(new.shards[1].products.key, b"x")
    with pytest.raises(CorruptError):
        diff(store, old, new)


class TestCommands:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        return str(tmp_path / "store")

    @pytest.fixture
    def names(self, folder: str) -> list[str]:
        store = LocalStore(Path(folder))
        channel = Channel(store)
        shards = [[row("a"), row("b")], [row("a"), row("c")], [row("d")]]
        drafts = [with_products(store, rows, second=number) for number, rows in enumerate(shards)]
        return [publish(channel, made, after=channel.latest(), reason=made.run).snapshot for made in drafts]

    def run(self, folder: str, *arguments: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(cli, [*arguments, "--store", folder], catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result

    def json(self, folder: str, *arguments: str) -> Any:
        return json.loads(self.run(folder, *arguments, "--output", "json").stdout)

    def test_list_tells_what_is_current_pinned_and_damaged(self, folder: str, names: list[str]) -> None:
        self.run(folder, "snapshots", "pin", names[0], "--note", "audit")
        manifest = Path(folder) / "snapshots" / names[1] / "manifest.json"
        manifest.write_bytes(manifest.read_bytes().replace(b"0.99", b"0.98"))
        rows = self.json(folder, "snapshots", "list")
        assert [(row["snapshot"], row["current"], row["pinned"]) for row in rows] == [
            (names[0], False, True), (names[1], False, False), (names[2], True, False),
        ]  # fmt: skip
        assert "checksum does not match" in rows[1]["problem"]
        lines = self.run(folder, "snapshots", "list").stdout.splitlines()
        assert lines[0].startswith(f"  {names[0]}")
        assert lines[0].endswith("pinned")
        assert lines[2].startswith(f"* {names[2]}")

    def test_history_says_who_when_and_why(self, folder: str, names: list[str]) -> None:
        self.run(folder, "snapshots", "rollback", "--reason", "too red")
        self.run(folder, "snapshots", "promote", names[0], "--reason", "as before", "--pin")
        entries = self.json(folder, "snapshots", "history")
        assert [(entry["snapshot"], entry["reason"]) for entry in entries[2:]] == [
            (names[2], "run-2"), (names[1], "too red"), (names[0], "as before"),
        ]  # fmt: skip
        assert entries[3]["restores"] == 2
        assert "@" in entries[3]["moved_by"]
        assert "too red (back to entry 2)" in self.run(folder, "snapshots", "history").stdout

    def test_diff_compares_the_last_two_by_default(self, folder: str, names: list[str]) -> None:
        found = self.json(folder, "snapshots", "diff")
        assert (found["before"], found["after"], found["came"], found["went"]) == (
            names[1], names[2], ["d"], ["a", "c"],
        )  # fmt: skip
        assert "+ c" in self.run(folder, "snapshots", "diff", names[0], names[1]).stdout.splitlines()
        assert self.json(folder, "snapshots", "diff", names[0])["went"] == ["a", "b"]

    def test_verify_names_what_is_damaged(self, folder: str, names: list[str]) -> None:
        assert "every byte as promised" in self.run(folder, "snapshots", "verify").stdout
        manifest = json.loads(self.run(folder, "snapshots", "show", names[0]).stdout)
        sha = manifest["shards"][0]["products"]["sha256"]
        path = Path(folder) / "objects" / "sha256" / sha[:2] / sha
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        failed = self.run(folder, "snapshots", "verify", names[0], exit_code=1)
        assert f"the products of shard 0: objects/sha256/{sha[:2]}/{sha} is damaged" in failed.stderr

    def test_gc_tells_before_it_does(self, folder: str, names: list[str]) -> None:
        assert self.json(folder, "snapshots", "gc", "--keep", "1", "--dry-run")["objects"] == []  # all is young
        old = datetime.now(UTC).timestamp() - 90_000
        for path in Path(folder).rglob("*"):
            if path.is_file():
                os.utime(path, (old, old))
        dry = self.json(folder, "snapshots", "gc", "--keep", "1", "--dry-run")
        assert dry["snapshots"] == names[:2]
        assert dry["freed_bytes"] > 0
        assert len(self.json(folder, "snapshots", "list")) == 3
        late = self.run(folder, "snapshots", "gc", "--keep", "1", "--time-limit", "0s")
        assert f"{len(dry['objects'])} objects are left" in late.stderr
        done = self.json(folder, "snapshots", "gc", "--keep", "1")
        assert {**done, "dry_run": True} == dry
        assert [row["snapshot"] for row in self.json(folder, "snapshots", "list")] == names[2:]
        assert "every byte as promised" in self.run(folder, "snapshots", "verify").stdout
        self.run(folder, "snapshots", "gc", "--grace", "soon", exit_code=2)

    def test_bad_names_get_a_sentence(self, folder: str, names: list[str]) -> None:
        for arguments in (["promote", "x"], ["pin", "../../x"], ["show", "x"], ["verify", "x"], ["diff", "x", "y"]):
            assert "no snapshot id" in self.run(folder, "snapshots", *arguments, exit_code=1).stderr
        assert (
            "nothing has been published"
            in self.run(folder, "snapshots", "rollback", "--channel", "empty", exit_code=1).stderr
        )
        self.run(folder, "snapshots", "unpin", names[0])

    def test_doctor(self, folder: str, names: list[str]) -> None:
        findings = self.json(folder, "doctor")
        assert all(finding["ok"] for finding in findings)
        assert f"points at {names[2]}" in findings[-2]["detail"]
        assert "ok      create if absent" in self.run(folder, "doctor").stdout
        manifest = json.loads(self.run(folder, "snapshots", "show").stdout)
        sha = manifest["spaces"]["image"]["encoder"]["model"]["sha256"]
        (Path(folder) / "objects" / "sha256" / sha[:2] / sha).unlink()
        failed = self.run(folder, "doctor", exit_code=1).stdout
        assert "FAILED  channel current" in failed
        assert "lacks the encoder's model" in failed


class TestDoctor:
    def failed(self, store: ObjectStore) -> dict[str, str]:
        findings = list(examine(store))
        assert all(finding.breaks for finding in findings if not finding.ok)
        return {finding.check: finding.detail for finding in findings if not finding.ok}

    def test_good_stores_are_fit_and_stay_clean(self, tmp_path: Path) -> None:
        for store in (MemoryStore(), LocalStore(tmp_path)):
            assert self.failed(store) == {}
            assert list(store.list("")) == []

    @pytest.mark.services
    def test_a_bucket_is_fit(self, s3_uri: str) -> None:
        store = open_store(s3_uri)
        assert self.failed(store) == {}
        assert list(store.list("")) == []

    @pytest.mark.services
    def test_a_missing_bucket_is_told(self, s3_uri: str) -> None:
        assert "permissions" in self.failed(open_store("s3://No_Such_Bucket/x"))

    def test_a_store_that_overwrites(self) -> None:
        class Overwriting(WrapperStore):
            def create(self, key: str, data: bytes) -> None:
                try:
                    self.inner.create(key, data)
                except AlreadyExistsError:
                    self.inner.delete(key)
                    self.inner.create(key, data)

        assert set(self.failed(Overwriting(MemoryStore()))) >= {"create if absent"}

    def test_a_store_that_may_only_be_read(self) -> None:
        class ReadOnly(WrapperStore):
            def create(self, key: str, data: bytes) -> None:
                raise StoreRefusedError("not allowed")

        assert self.failed(ReadOnly(MemoryStore()))["permissions"] == "not allowed"

    def test_a_store_that_lists_late(self) -> None:
        class Late(WrapperStore):
            def list(self, prefix: str) -> Iterator[ObjectInfo]:
                return iter(())

        assert "not there yet" in self.failed(Late(MemoryStore()))["read after write"]

    def test_a_store_in_which_half_an_upload_shows(self) -> None:
        class Torn(WrapperStore):
            def abandon(self, key: str, data: bytes) -> None:
                self.inner.create(key, data)

        assert set(self.failed(Torn(MemoryStore()))) == {"aborted upload"}

    def test_a_store_in_another_time(self) -> None:
        class Yesterday(WrapperStore):
            def stat(self, key: str) -> ObjectInfo:
                found = self.inner.stat(key)
                return ObjectInfo(found.key, found.size, found.modified - timedelta(days=1))

        assert "86" in self.failed(Yesterday(MemoryStore()))["clock"]


def test_durations() -> None:
    assert [duration(text) for text in ("90s", "30m", "24h", "7d")] == [
        timedelta(seconds=90), timedelta(minutes=30), timedelta(hours=24), timedelta(days=7),
    ]  # fmt: skip
    for text in ("", "7", "h", "-1h", "1w", "1.5h"):
        with pytest.raises(InputError, match="such as"):
            duration(text)
