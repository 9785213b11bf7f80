"""Flows in this process, on a real Prefect server and a real Dask cluster, with a small encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lookalike.data.reports import RunReport
from tests.support.servers import as_prefect_client

Reindex = Callable[..., RunReport]


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def on_servers(prefect_api: str, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", scheduler)
    monkeypatch.setenv("LOOKALIKE_DISTORTED_PICTURES", "0")  # seconds for each run: tests of copies want some
    with as_prefect_client(prefect_api):
        yield


@pytest.fixture
def run(tmp_path: Path, on_servers: None) -> Reindex:
    """Reindex `tmp_path / "pictures"` into `tmp_path / "store"`."""
    from lookalike.flows.reindex import reindex
    from lookalike.flows.runtime.states import run_here

    def run(catalogue: Path = tmp_path / "pictures", **parameters: object) -> RunReport:
        return run_here(reindex, str(catalogue), store=str(tmp_path / "store"), **{"encoder": "fake", **parameters})

    return run


@pytest.fixture
def refresh(tmp_path: Path, on_servers: None) -> Reindex:
    """Refresh the same."""
    from lookalike.flows.refresh import refresh
    from lookalike.flows.runtime.states import run_here

    def run(catalogue: Path = tmp_path / "pictures", **parameters: object) -> RunReport:
        return run_here(refresh, str(catalogue), store=str(tmp_path / "store"), **{"encoder": "fake", **parameters})

    return run
