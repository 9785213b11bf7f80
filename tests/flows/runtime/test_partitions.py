"""Partitions on a real cluster: every row once, errors raised, a killer found out, and an end to waiting."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from distributed import LocalCluster

from lookalike.data.errors import ClusterLostError, RunTimeoutError, StoreUnavailableError
from lookalike.data.partitioned import slices
from lookalike.data.stores.retry import Backoff
from lookalike.flows.runtime import partitions
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.partitions import Partition, gather, map_partitions
from lookalike.flows.runtime.settings import BatchSettings
from tests.support.work import doubled, failing, killing, slow, waited, without_store

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(BatchSettings(DASK_SCHEDULER_ADDRESS=None, batch_workers=2)) as cluster:
        yield cluster


def numbers(count: int, size: int) -> Iterator[Partition]:
    table = pa.table({"n": range(count), "unseen": ["x"] * count})
    for number, part in enumerate(slices(table, size)):
        yield Partition(str(number), part)


def no_poison(rows: pa.Table) -> list[int]:
    raise AssertionError(rows)


def test_yields_each_partition_once(cluster: Cluster) -> None:
    done = list(map_partitions(cluster, doubled, numbers(25, 4), on_poison=no_poison, columns=["n"]))
    assert sorted(item for _, part in done for item in part) == list(range(0, 50, 2))
    assert sum(partition.rows.num_rows for partition, _ in done) == 25
    assert all("unseen" in partition.rows.column_names for partition, _ in done)


def test_nothing_to_do_asks_for_no_cluster() -> None:
    with Cluster(BatchSettings(DASK_SCHEDULER_ADDRESS="tcp://127.0.0.1:1")) as nowhere:
        assert list(map_partitions(nowhere, doubled, iter(()), on_poison=no_poison, columns=["n"])) == []
        assert not nowhere.is_started
        assert nowhere.worker_peak_bytes() is None


def test_partitions_are_read_no_faster_than_they_are_worked_on(cluster: Cluster) -> None:
    read = 0

    def counted() -> Iterator[Partition]:
        nonlocal read
        for partition in numbers(100, 1):
            read += 1
            yield partition

    results = map_partitions(cluster, doubled, counted(), on_poison=no_poison, columns=["n"])
    next(results)
    assert read <= 2 * partitions.IN_FLIGHT_PER_WORKER + 2
    results.close()  # type: ignore[attr-defined]


def test_gathering_tells_what_is_done_while_it_waits(cluster: Cluster) -> None:
    seconds = [0.0, partitions.LOOK_SECONDS + 1]
    told: list[int] = []
    futures = [cluster.client.submit(waited, one, pure=False) for one in seconds]
    assert gather(cluster, futures, advance=told.append) == seconds
    assert told == [1, 1]


def test_an_error_reaches_the_caller(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="three"):
        list(map_partitions(cluster, failing, numbers(8, 2), on_poison=no_poison, columns=["n"]))


def test_a_store_that_is_away_for_a_while_is_waited_for(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functools import partial

    monkeypatch.setattr(partitions, "STORE_TRIES", 3)
    monkeypatch.setattr(partitions, "STORE_BACKOFF", Backoff(0.4))
    until = tmp_path / "until"
    until.write_text(str(time.time() + 1))
    work = partial(without_store, away_until=str(until))
    done = list(map_partitions(cluster, work, numbers(6, 2), on_poison=no_poison, columns=["n"]))
    assert sorted(item for _, part in done for item in part) == [0, 2, 4, 6, 8, 10]
    until.write_text(str(time.time() + 100))
    with pytest.raises(StoreUnavailableError):
        list(map_partitions(cluster, work, numbers(2, 2), on_poison=no_poison, columns=["n"]))


def test_a_run_that_takes_too_long_gives_up(cluster: Cluster) -> None:
    work = map_partitions(
        cluster, slow, numbers(4, 2), on_poison=no_poison, columns=["n"], deadline=time.monotonic() + 0.5
    )
    with pytest.raises(RunTimeoutError, match="took longer"):
        list(work)


@pytest.mark.slow
def test_a_row_that_kills_its_worker_is_found_and_the_others_are_done(cluster: Cluster) -> None:
    def poisoned(rows: pa.Table) -> list[int]:
        return [-item for item in rows["n"].to_pylist()]

    before = cluster.partitions_retried
    done = list(map_partitions(cluster, killing, numbers(16, 8), on_poison=poisoned, columns=["n"]))
    assert sorted(item for _, part in done for item in part) == [-5, *range(5), *range(6, 16)]
    assert cluster.partitions_retried - before >= 2  # whole, and in parts down to the row
    assert cluster.workers_lost() >= 2


@pytest.mark.slow
def test_a_cluster_without_workers_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(partitions, "FETCH_SECONDS", 0.5)
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as remote:
        settings = BatchSettings(DASK_SCHEDULER_ADDRESS=remote.scheduler_address, dask_patience_seconds=1)
        with Cluster(settings) as cluster:
            results = map_partitions(cluster, doubled, numbers(400, 1), on_poison=no_poison, columns=["n"])
            next(results)
            remote.scale(0)
            with pytest.raises(ClusterLostError, match="start workers, then run again"):
                list(results)


def test_what_dask_says_of_each_start_and_end_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    level = logging.getLogger("distributed").level
    with Cluster(BatchSettings(DASK_SCHEDULER_ADDRESS=None, batch_workers=1)) as started:
        assert started.client.submit(doubled, pa.table({"n": [1]}), pure=False).result() == [2]
        assert started.workers_lost() == 0
        logging.getLogger("distributed.nanny").warning("a worker died")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("distributed")]
    assert said == ["a worker died"]
    assert logging.getLogger("distributed").level == level
