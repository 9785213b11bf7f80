"""Stores that misbehave: each wraps another store and adds one kind of trouble."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from lookalike.data.errors import StoreUnavailableError
from lookalike.data.stores import ObjectInfo, ObjectStore

Result = TypeVar("Result")

WRITES = frozenset({"create", "upload", "delete", "sweep"})


class WrapperStore:
    """A store that does what another one does. Override `call` to be in the way of everything."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        """Run one operation on the inner store."""
        return run()

    @property
    def uri(self) -> str:
        return self.inner.uri

    def read(self, key: str) -> bytes:
        return self.call("read", key, lambda: self.inner.read(key))

    def open(self, key: str) -> BinaryIO:
        return self.call("open", key, lambda: self.inner.open(key))

    def download(self, key: str, path: Path) -> None:
        self.call("download", key, lambda: self.inner.download(key, path))

    def create(self, key: str, data: bytes) -> None:
        self.call("create", key, lambda: self.inner.create(key, data))

    def upload(self, key: str, path: Path) -> None:
        self.call("upload", key, lambda: self.inner.upload(key, path))

    def stat(self, key: str) -> ObjectInfo:
        return self.call("stat", key, lambda: self.inner.stat(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self.call("list", prefix, lambda: [*self.inner.list(prefix)])

    def delete(self, key: str) -> None:
        self.call("delete", key, lambda: self.inner.delete(key))

    def sweep(
        self, before: datetime, *, is_ours: Callable[[str], bool] = lambda _key: True, dry_run: bool = False
    ) -> int:
        return self.call("sweep", "", lambda: self.inner.sweep(before, is_ours=is_ours, dry_run=dry_run))

    def abandon(self, key: str, data: bytes) -> None:
        self.call("abandon", key, lambda: self.inner.abandon(key, data))


class RecordingStore(WrapperStore):
    """Notes which keys each method was called with."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.calls: dict[str, list[str]] = {}

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        self.calls.setdefault(method, []).append(key)
        return run()


class SlowStore(WrapperStore):
    """Takes up to `seconds` longer for each operation, so that others come in between."""

    def __init__(self, inner: ObjectStore, seconds: float, seed: int = 0) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self._random = random.Random(seed)

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        time.sleep(self._random.uniform(0, self._seconds))
        result = run()
        time.sleep(self._random.uniform(0, self._seconds))
        return result


class FailingStore(WrapperStore):
    """Does not answer: the n-th call of `method` for a key below `prefix`, and the `times - 1` after it, do nothing."""

    def __init__(self, inner: ObjectStore, method: str, prefix: str = "", *, first: int = 1, times: int = 1) -> None:
        super().__init__(inner)
        self._method, self._prefix = method, prefix
        self._failing = range(first, first + times)
        self._seen: Counter[str] = Counter()

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        if method != self._method or not key.startswith(self._prefix):
            return run()
        self._seen[method] += 1
        return self.fail(key, run) if self._seen[method] in self._failing else run()

    def fail(self, key: str, run: Callable[[], Result]) -> Result:
        """Do nothing, and say that the outcome is unknown."""
        raise StoreUnavailableError(f"{key}: injected failure")


class LostResponseStore(FailingStore):
    """The same, but the operation lands: only its answer is lost."""

    def fail(self, key: str, run: Callable[[], Result]) -> Result:
        run()
        raise StoreUnavailableError(f"{key}: injected loss of the answer")


class Crash(BaseException):
    """The process is no more: nothing but the test may catch it."""


class CrashingStore(WrapperStore):
    """The process dies at its n-th write: before it, or after it landed. All later operations find it dead."""

    def __init__(self, inner: ObjectStore, at: int, *, landed: bool) -> None:
        super().__init__(inner)
        self._at, self._landed = at, landed
        self.writes = 0

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        if self.writes >= self._at:
            raise Crash
        if method not in WRITES:
            return run()
        self.writes += 1
        if self.writes < self._at:
            return run()
        if self._landed:
            run()
        raise Crash
