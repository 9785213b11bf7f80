"""Runs on a cluster of processes of their own: over TLS, on workers with a resource, while it scales; and cancelled."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from distributed import Client

from lookalike.data.reports import recent_reports
from lookalike.data.snapshots.channels import Channel
from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import HOST, free_port
from tests.support.pictures import write_catalogue
from tests.support.servers import BIN, ROOT
from tests.support.sites import certificates

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]


@contextmanager
def processes(*commands: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run programs until the test is over."""
    with log.open("wb") as output:
        running = [
            subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env={**os.environ, **environment},
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            for command in commands
        ]
        try:
            yield
        finally:
            for process in running:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def reindex(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    command = [str(BIN / "lookalike"), "reindex", str(folder / "pictures"), "--store", str(folder / "store")]
    return subprocess.Popen(
        [*command, "--encoder", "fake", "--output", "json"],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-3000:]
    report: dict[str, Any] = json.loads(output)
    return report


def test_a_reindex_on_workers_with_tls_and_a_resource(tmp_path: Path, prefect_api: str) -> None:
    write_catalogue(tmp_path / "pictures", 40)
    ca_file, _ = certificates(tmp_path, "dask")
    both = str(tmp_path / "server.pem")  # certificate and key
    tls = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(ca_file), "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls |= {f"DASK_DISTRIBUTED__COMM__TLS__{role}__{kind}": both for kind in ("CERT", "KEY")}
    address = f"tls://{HOST}:{free_port()}"
    scheduler = ["dask", "scheduler", "--protocol", "tls", "--host", HOST, "--port", address.rpartition(":")[2]]
    worker = ["dask", "worker", address, "--nthreads", "1", "--no-dashboard", "--host", f"tls://{HOST}"]
    environment = {**tls, "PREFECT_API_URL": prefect_api, "DASK_SCHEDULER_ADDRESS": address}
    with processes(
        [*scheduler, "--no-dashboard"],
        [*worker, "--resources", "GPU=1"],
        worker,
        environment=environment,
        log=tmp_path / "dask.log",
    ):
        asked = {"LOOKALIKE_DASK_EMBED_RESOURCES": "GPU=1", "LOOKALIKE_METRICS_TEXTFILE": str(tmp_path)}
        report = report_of(reindex(tmp_path, {**environment, **asked}))
        write_catalogue(tmp_path / "pictures", 1, first=900)  # so that there is work
        plain = {**environment, "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": ""}
        with pytest.raises(AssertionError, match=r"[Tt][Ll][Ss]"):
            report_of(reindex(tmp_path, plain))
    assert (report["state"], report["products"]) == ("published", 40)
    ends = re.findall(
        r'^lookalike_batch_certificate_expiry_timestamp_seconds\{certificate="(own|authority)".* (\S+)$',
        (tmp_path / "lookalike-current-reindex.prom").read_text(),
        re.MULTILINE,
    )
    assert sorted(name for name, _ in ends) == ["authority", "own"]
    assert all(time.time() < float(end) < math.inf for _, end in ends)


def test_a_cluster_that_scales_from_nothing_and_back(tmp_path: Path, prefect_api: str) -> None:
    """Two workers come only after the run has put work on the scheduler; one is taken away while they embed."""
    write_catalogue(tmp_path / "pictures", 120)
    port = free_port()
    environment = {
        "PREFECT_API_URL": prefect_api,
        "DASK_SCHEDULER_ADDRESS": f"tcp://{HOST}:{port}",
        "LOOKALIKE_BATCH_PARTITION": "1",
    }
    store = open_store(str(tmp_path / "store"))
    scheduler = ["dask", "scheduler", "--host", HOST, "--port", str(port), "--no-dashboard"]
    with processes(scheduler, environment=environment, log=tmp_path / "scheduler.log"):
        process = reindex(tmp_path, environment)
        with Client(environment["DASK_SCHEDULER_ADDRESS"], timeout=60) as client:
            wait_for(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) > 0)
            worker = ["dask", "worker", environment["DASK_SCHEDULER_ADDRESS"], "--nthreads", "1", "--no-dashboard"]
            with processes(worker, worker, environment=environment, log=tmp_path / "worker.log"):
                client.wait_for_workers(2, timeout=60)
                wait_for(lambda: len(list(store.list("embeddings/"))) > 3)
                client.retire_workers([next(iter(client.scheduler_info()["workers"]))])
                assert len(list(store.list("embeddings/"))) < 120
                report = report_of(process)
        assert (report["state"], report["products"], report["embedded"]) == ("published", 120, 120)


def test_what_fails_on_the_runs_own_workers_is_said_once(tmp_path: Path, prefect_api: str) -> None:
    write_catalogue(tmp_path / "pictures", 40)
    without_gpu = {"LOOKALIKE_BATCH_WORKERS": "1", "LOOKALIKE_EMBED_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    process = reindex(tmp_path, {"PREFECT_API_URL": prefect_api, **without_gpu})
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.count("torch finds no GPU on this worker") == 1, errors
    assert "Traceback" not in errors


def test_a_cancelled_run_leaves_the_cluster_and_the_channel_alone(tmp_path: Path, prefect_api: str) -> None:
    """Cancelled in the Prefect UI, as a person would, on a process that serves the flow."""
    write_catalogue(tmp_path / "pictures", 400)
    port = free_port()
    address = f"tcp://{HOST}:{port}"
    environment = {
        "PREFECT_API_URL": prefect_api,
        "DASK_SCHEDULER_ADDRESS": address,
        "LOOKALIKE_BATCH_PARTITION": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    name = f"cancelled-{tmp_path.name}-{os.getpid()}"
    serve = [
        "python",
        "-c",
        f"from lookalike.flows.reindex import reindex; reindex.serve(name={name!r}, pause_on_shutdown=False)",
    ]
    scheduler = ["dask", "scheduler", "--host", HOST, "--port", str(port), "--no-dashboard"]
    worker = ["dask", "worker", address, "--nthreads", "1", "--no-dashboard"]
    with (
        processes(serve, scheduler, worker, environment=environment, log=tmp_path / "log"),
        httpx.Client(base_url=prefect_api, timeout=30) as api,
        Client(address, timeout=60) as client,
    ):
        wait_for(lambda: api.get(f"/deployments/name/reindex/{name}").status_code == httpx.codes.OK)
        deployment = api.get(f"/deployments/name/reindex/{name}").json()["id"]
        parameters = {"catalogue": str(tmp_path / "pictures"), "store": str(tmp_path / "store"), "encoder": "fake"}
        run = api.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters}).json()["id"]
        store = open_store(str(tmp_path / "store"))
        wait_for(lambda: len(list(store.list("embeddings/"))) > 3)
        cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        api.post(f"/flow_runs/{run}/set_state", json=cancel).raise_for_status()
        wait_for(lambda: api.get(f"/flow_runs/{run}").json()["state_type"] == "CANCELLED")
        wait_for(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0)
        embedded = len(list(store.list("embeddings/")))
        assert embedded < 400
        assert Channel(store).latest() is None
        time.sleep(1)
        assert len(list(store.list("embeddings/"))) == embedded
        assert [one.state for one in recent_reports(store, "current", 5)] in ([], ["cancelled"])


def wait_for(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
