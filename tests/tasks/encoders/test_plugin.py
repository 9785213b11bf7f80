"""An encoder of another package: installed by pip, found by its entry point, and used from one end to the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lookalike.data.snapshots import blobs
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.encoders.base import EncoderSpec, encode
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_origin, list_encoders
from lookalike.tasks.encoders.stored import store_encoder
from tests.support.pictures import write_catalogue

EXAMPLE = Path(__file__).parents[2] / "examples" / "colours"
ROOT = Path(__file__).parents[3]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package installed; building writes into the source, so it is a copy's."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(folder / "source")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


def lookalike(site: Path, folder: Path, *arguments: str, **more: str) -> str:
    """Run the command line with the plug-in installed, in a folder of its own; return its standard output."""
    command = [sys.executable, "-m", "lookalike", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", **more}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_imports_nothing_of_ours_but_what_stays_as_it_is() -> None:
    """Else each move of a module would break the encoders of others."""
    code = (EXAMPLE / "lookalike_colours.py").read_text()
    names = re.findall(r"^\s*(?:from|import) (lookalike\S*)", code, re.MULTILINE)
    assert set(names) == {"lookalike.encoders"}


def test_it_is_found_where_it_is_installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "colours" not in list_encoders()
    monkeypatch.syspath_prepend(site)

    found = find_origin("colours")

    assert "colours" in list_encoders()
    assert (found.value, found.package) == ("lookalike_colours:Colours", "lookalike-colours 1.0.0")


def test_it_is_exported_into_a_store_and_encodes(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(site)
    store = MemoryStore()

    section = store_encoder(store, "colours")

    spec = EncoderSpec.model_validate_json(blobs.read(store, section.spec))
    encoder = OnnxEncoder(blobs.read(store, section.model), spec, threads=1)
    pictures = [path.read_bytes() for path in sorted(write_catalogue(tmp_path, 6).rglob("*.png"))]
    vectors = encode(encoder, pictures)
    assert vectors.shape == (6, 216)
    assert (np.argmax(vectors @ vectors.T, axis=1) == np.arange(6)).all()


@pytest.mark.system
@pytest.mark.services
def test_a_catalogue_is_indexed_and_searched_with_it(site: Path, tmp_path: Path, prefect_api: str) -> None:
    pictures = write_catalogue(tmp_path / "pictures", 60)
    store = str(tmp_path / "store")

    shown = json.loads(lookalike(site, tmp_path, "encoders", "show", "colours", "--store", store))
    arguments = [str(pictures), "--store", store, "--encoder", "colours", "--output", "json"]
    environment = {"PREFECT_API_URL": prefect_api, "LOOKALIKE_BATCH_WORKERS": "1"}
    report = json.loads(lookalike(site, tmp_path, "reindex", *arguments, **environment))
    query = str(pictures / "hats" / "0007.png")
    found = json.loads(lookalike(site, tmp_path, "search", query, "--store", store, "-k", "1", "--output", "json"))

    assert (shown["class"], shown["stored"]) == ("lookalike_colours:Colours", None)
    assert (report["published"], report["products"], report["rejected"]) == (True, 60, 0)
    assert found["hits"][0]["id"] == "hats/0007.png"
