"""Rejects: each product that could not be used, with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lookalike.data.stores import ObjectStore

FIELDS = ("id", "reference", "stage", "reason", "message", "version")
SCHEMA = pa.schema([(name, pa.string()) for name in FIELDS])
SHOWN = 50
PER_WRITE = 4096


@dataclass(frozen=True, slots=True)
class Reject:
    """A product that was left out.

    Attributes:
        id: the product's id, empty where it has none.
        reference: its image, as the catalogue names it.
        stage: where it failed: `scan`, `read`, `decode` or `encode`.
        reason: a stable code, such as `truncated`.
        message: for a person.
        version: the image's version then: while it stays, the image need not be tried again. Empty where unknown.
    """

    id: str
    reference: str
    stage: str
    reason: str
    message: str
    version: str = ""


class RejectLog:
    """The rejects of one stage, on disk, however many they are.

    Attributes:
        counts: how many there are for each reason.
        first: the first few, to show.
        first_of: the first one of each reason.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = pq.ParquetWriter(path, SCHEMA)
        self._waiting: list[Reject] = []
        self.counts: Counter[str] = Counter()
        self.first: list[Reject] = []
        self.first_of: dict[str, Reject] = {}

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def extend(self, rejects: Iterable[Reject]) -> None:
        """Add some."""
        for reject in rejects:
            self.counts[reject.reason] += 1
            self.first_of.setdefault(reject.reason, reject)
            self._waiting.append(reject)
            if len(self.first) < SHOWN:
                self.first.append(reject)
            if len(self._waiting) >= PER_WRITE:
                self._flush()

    def close(self) -> Path:
        """End the log; return its file."""
        if self._writer.is_open:
            self._flush()
            self._writer.close()
        return self._path

    def _flush(self) -> None:
        self._writer.write_table(_table(self._waiting))
        self._waiting.clear()


def describe_rejects(logs: Sequence[RejectLog]) -> str:
    """Return a sentence about the most frequent reason, its count and an example; empty where there are none."""
    first = {reason: reject for log in reversed(logs) for reason, reject in log.first_of.items()}
    return describe_reasons(sum((log.counts for log in logs), Counter[str]()), first)


def describe_reasons(counts: Counter[str], first: Mapping[str, Reject]) -> str:
    """Return a sentence about the most frequent reason; `first` has a reject of each."""
    if not counts:
        return ""
    reason, count = counts.most_common(1)[0]
    return f"{count:,} of {counts.total():,} rejects are {reason}; the first one: {first[reason].message}"


def store_rejects(store: ObjectStore, run: str, logs: Iterable[RejectLog], scratch: Path) -> str:
    """Store the rejects of one run, also when there are none, and return the object's name."""
    joined = scratch / "rejects.parquet"
    with pq.ParquetWriter(joined, SCHEMA) as writer:
        for log in logs:
            with pq.ParquetFile(log.close()) as file:
                for batch in file.iter_batches(PER_WRITE):
                    writer.write_batch(batch)
    key = f"rejects/{run}.parquet"
    store.upload(key, joined)
    return key


def read_rejects(store: ObjectStore, key: str) -> list[Reject]:
    """Return the rejects of one run. Raises `NotFoundError`."""
    return [Reject(**row) for row in read_reject_table(store, key).to_pylist()]


def read_first_rejects(store: ObjectStore, key: str, limit: int, reason: str = "") -> list[Reject]:
    """Return the first rejects of one run, of one reason where that is named. Raises `NotFoundError`."""
    found: list[Reject] = []
    with pq.ParquetFile(pa.BufferReader(store.read(key))) as file:
        for batch in file.iter_batches(PER_WRITE):
            rows = batch if not reason else batch.filter(pc.equal(batch["reason"], reason))
            found.extend(Reject(**row) for row in rows.slice(0, limit - len(found)).to_pylist())
            if len(found) >= limit:
                break
    return found


def read_reject_table(store: ObjectStore, key: str) -> pa.Table:
    """Return the same as a table with the columns FIELDS."""
    table = pq.read_table(pa.BufferReader(store.read(key)))
    if "version" not in table.column_names:  # written before versions were kept
        table = table.append_column("version", pa.array([""] * table.num_rows, pa.string()))
    return table.select(FIELDS)


def _table(rejects: Sequence[Reject]) -> pa.Table:
    return pa.Table.from_pylist([asdict(reject) for reject in rejects], schema=SCHEMA)
