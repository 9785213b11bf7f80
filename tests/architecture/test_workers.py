"""Dask workers of other machines: processes that were started elsewhere import `lookalike`, not `tasks` or `data`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from distributed import Client

from lookalike.data.embeddings import Embeddings
from lookalike.tasks.search.filters import parse
from tests.support.servers import ROOT, dask_cluster

pytestmark = pytest.mark.slow  # Dask takes seconds to import


def imported() -> tuple[int, list[str]]:
    """Return this process's id, and which top-level names of ours it has imported."""
    names = {name.partition(".")[0] for name in sys.modules}
    return os.getpid(), sorted(names & {"lookalike", "data", "tasks", "flows", "serving"})


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
def test_a_worker_unpickles_what_a_flow_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        dask_cluster(tmp_path, workers=1, env={"PYTHONPATH": str(ROOT)}) as address,
        Client(address, timeout=60) as client,
    ):
        assert client.submit(parse, "price<=30", pure=False).result(timeout=60) == parse("price<=30")
        assert client.submit(type, Embeddings, pure=False).result(timeout=60) is type
        [(worker, names)] = client.run(imported).values()
    assert worker != os.getpid()
    assert names == ["lookalike"]
