"""The batch image: built with torch for CPUs, and a few pictures through a run in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from tests.support import cpu_torch
from tests.support.engine import NETWORK, Engine
from tests.support.pictures import write_catalogue

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.timeout(1800),
]

IMAGE = "lookalike/batch:tests"
MOST_BYTES = 2_500_000_000
PICTURES = 6
USER = 10001


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    if cpu_torch.is_index_named():
        engine.build("batch")
        return IMAGE
    wheel = cpu_torch.find_wheel(tmp_path_factory.mktemp("torch", numbered=False))
    if wheel is None:
        pytest.skip("TORCH_INDEX names no index with torch for CPUs, and pip finds no wheel of it on this machine")
    source = tmp_path_factory.mktemp("source")
    cpu_torch.copy_source(wheel, source)
    with cpu_torch.index_of(wheel) as index:
        arguments = {"PYTHON_IMAGE": engine.make_base(wheel.release), "TORCH_INDEX": index}
        engine.build("batch", source=source, options=[f"--build-arg {name}={at}" for name, at in arguments.items()])
    return IMAGE


def test_it_is_not_too_large(engine: Engine, image: str) -> None:
    assert int(engine.docker("inspect", "--format", "{{.Size}}", image)) < MOST_BYTES


def test_it_holds_no_cuda(engine: Engine, image: str) -> None:
    code = "import torch; print(torch.version.cuda)"
    printed = engine.docker("run", "--rm", "--network", NETWORK, "--entrypoint", "python", image, "-c", code)
    assert printed.strip() == "None"


def test_a_run_in_it_exports_the_encoder_and_publishes(engine: Engine, image: str, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", PICTURES)
    store = tmp_path / "store"
    store.mkdir()
    os.chown(store, USER, USER)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    mounted = ("--volume", f"{tmp_path / 'pictures'}:/pictures:ro", "--volume", f"{store}:/store")
    limits = ("--read-only", "--cap-drop", "ALL", "--memory", "3g", "--tmpfs", "/tmp")
    engine.docker(
        "run", "--rm", "--network", NETWORK, *limits, *mounted, image, "reindex", "/pictures", "--store", "/store",
        timeout=600,
    )  # fmt: skip
    opened = open_store(str(store))
    manifest = read_manifest(opened, Channel(opened).current().snapshot)
    assert manifest.products == PICTURES
    assert manifest.encoder.name == "efficientnet-lite0"
