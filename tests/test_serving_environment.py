"""The serving tier in an environment of its own: built from its lock file, without torch, Prefect or Dask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import HOST, Service, Services, free_port
from tests.support.servers import ROOT, answers
from tests.support.shop import ODD_ID, Shop, picture

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what `requirements/serve.lock` names, and Lookalike."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    # the lock names all that is needed, so nothing is resolved: what it forgot would be missing below
    options = ["-qq", "--no-deps", "--no-compile", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", *options]
    subprocess.run([*pip, "--requirement", str(ROOT / "requirements" / "serve.lock")], check=True)
    subprocess.run([*pip, "--editable", str(ROOT)], check=True)
    return folder


def test_nothing_of_the_batch_side_is_there(environment: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(environment), "list", "--format", "freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.lower()
    installed = {line.partition("==")[0] for line in found.split()}
    assert not installed & {"torch", "torchvision", "prefect", "dask", "distributed", "onnx"}
    assert {"onnxruntime", "faiss-cpu", "fastapi"} <= installed


def test_it_serves_a_snapshot(environment: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    Shop(store, tmp_path / "pictures").publish()
    port = free_port()
    url = f"http://{HOST}:{port}"
    service = Service(
        "server",
        [str(environment / "bin" / "lookalike"), "serve", "--store", store.uri, "--port", str(port)],
        {**os.environ, "LOOKALIKE_CACHE": str(tmp_path / "cache")},
        tmp_path / "serve.log",
        ready=lambda: answers(f"{url}/readyz"),
    )
    with Services(tmp_path) as services:
        services.start(service)
        services.wait_ready(service)
        reply = httpx.post(f"{url}/v1/search", files={"image": picture(0)}, data={"k": "3"}, timeout=30)
    assert reply.status_code == 200, reply.text
    assert reply.json()["hits"][0]["id"] == ODD_ID
