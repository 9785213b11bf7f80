"""Each store does what every store must, and what only it has to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lookalike.data.errors import InputError, NotFoundError, StoreRefusedError, StoreUnavailableError
from lookalike.data.stores import ObjectStore, open_store
from lookalike.data.stores.conformance import StoreTests
from lookalike.data.stores.local import TEMPORARY, LocalStore
from lookalike.data.stores.memory import MemoryStore
from lookalike.data.stores.s3 import file_system
from tests.support.seaweedfs import BUCKET, SeaweedFS


class TestMemoryStore(StoreTests):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore()


class TestLocalStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return LocalStore(tmp_path / "store")

    def test_writing_leaves_nothing_else_behind(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        file = tmp_path / "file"
        file.write_bytes(b"1")
        store.create("a/b", b"1")
        store.upload("a/c", file)
        with pytest.raises(NotFoundError):
            store.upload("a/d", tmp_path / "missing")
        assert list((tmp_path / TEMPORARY).iterdir()) == []

    def test_a_folder_of_somebody_else_says_no(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("os.link", refuse)  # a mode would not do: tests may run as root
        with pytest.raises(StoreRefusedError, match="who owns"):
            LocalStore(tmp_path).create("a", b"")

    def test_a_file_where_the_store_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        store = LocalStore(tmp_path / "file")
        with pytest.raises(StoreRefusedError, match="is a file"):
            store.create("a", b"")
        with pytest.raises(NotFoundError):
            store.read("a")

    def test_it_is_named_by_its_path(self, tmp_path: Path) -> None:
        assert open_store(str(tmp_path)).uri == str(tmp_path)
        assert open_store(f"file://{tmp_path}").uri == str(tmp_path)


@pytest.mark.services
class TestS3Store(StoreTests):
    @pytest.fixture
    def store(self, s3_uri: str) -> ObjectStore:
        return open_store(s3_uri)

    def test_a_missing_bucket_is_told_from_a_missing_object(self, seaweedfs: SeaweedFS) -> None:
        with pytest.raises(StoreRefusedError, match="create the bucket first"):
            open_store("s3://no-such-bucket-here/x").read("a")
        with pytest.raises(NotFoundError):
            open_store(f"s3://{BUCKET}/bucket").read("bucket")

    def test_a_wrong_key_is_refused(self, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lookalike.data.stores.s3.file_system", lambda: file_system(secret="wrong"))
        with pytest.raises(StoreRefusedError, match="credentials"):
            open_store(s3_uri).create("a", b"")

    def test_a_server_that_is_away(self, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        away = file_system(endpoint_url="http://127.0.0.1:9")
        away.retries = 1
        monkeypatch.setattr("lookalike.data.stores.s3.file_system", lambda: away)
        with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:9"):
            open_store(s3_uri).read("a")

    def test_reading_a_document_is_one_request(self, s3_uri: str, caplog: pytest.LogCaptureFixture) -> None:
        store = open_store(s3_uri)
        store.create("a", b"1")
        with caplog.at_level("DEBUG", "s3fs"):
            assert store.read("a") == b"1"
        calls = [record.getMessage() for record in caplog.records if record.name == "s3fs"]
        assert [call.split(" - ")[0] for call in calls] == ["CALL: get_object"]

    def test_a_key_that_is_a_prefix_of_others(self, s3_uri: str) -> None:
        store = open_store(s3_uri)
        store.create("a/b/c", b"1")
        assert [found.key for found in store.list("a/")] == ["a/b/c"]
        assert store.uri == s3_uri


@pytest.mark.parametrize("uri", ["gs://bucket", "http://host/x", "s3://", "memory://x"])
def test_other_stores_are_no_stores(uri: str) -> None:
    with pytest.raises(InputError, match="is no store"):
        open_store(uri)


def test_a_memory_store_lists_while_it_is_written() -> None:
    store = MemoryStore()

    def write() -> None:
        for number in range(2000):
            store.create(f"a/{number}", b"")

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        keys = [found.key for found in store.list("a/")]
        assert keys == sorted(keys)
    assert len(list(store.list("a/"))) == 2000
