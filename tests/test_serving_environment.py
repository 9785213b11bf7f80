"""The serving tier in an environment of its own: built from its lock file, without torch, Prefect or Dask."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import HOST, Service, Services, free_port
from tests.support.servers import ROOT, answers
from tests.support.shop import ODD_ID, Shop, picture

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what `requirements/serve.lock` names, and Lookalike.

    Its files are links to those that are installed here: to install them again takes a minute, and tests pip.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for requirement in locked("serve.lock"):
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version), f"{requirement}: {found.version} is installed"
        link(found, site)
    (site / "lookalike.pth").write_text(f"{ROOT}\n")
    return folder


def locked(name: str) -> list[Requirement]:
    """Return what a lock file names for this platform."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    every = [Requirement(line) for line in lines if line and not line.lstrip().startswith(("#", "-"))]
    return [one for one in every if one.marker is None or one.marker.evaluate()]


def link(found: Distribution, site: Path) -> None:
    """Link all files of a distribution that lie in its `site-packages`; its commands are left out."""
    for file in found.files or ():
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file.locate())


def test_nothing_of_the_batch_side_is_there(environment: Path) -> None:
    installed = {requirement.name for requirement in locked("serve.lock")}
    assert not installed & {"torch", "torchvision", "prefect", "dask", "distributed", "onnx"}
    assert {"onnxruntime", "faiss-cpu", "fastapi"} <= installed
    code = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, sys.argv[1:])))"
    subprocess.run([environment / "bin" / "python", "-c", code, "torch", "prefect", "distributed"], check=True)


def test_it_serves_a_snapshot(environment: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    Shop(store, tmp_path / "pictures").publish()
    port = free_port()
    url = f"http://{HOST}:{port}"
    service = Service(
        "server",
        [str(environment / "bin" / "python"), "-m", "lookalike", "serve", "--store", store.uri, "--port", str(port)],
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
