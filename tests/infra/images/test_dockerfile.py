"""The Dockerfile and the locks that it installs: what can be said without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import run
from tests.support.image_tools import Tools

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "infra" / "images" / "Dockerfile"
LOCKS = ROOT / "requirements"


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock; there are several where they depend on the platform."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)", (LOCKS / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("name", ["serve.lock", "flows.lock", "batch.lock"])
def test_an_image_gets_the_versions_that_the_tests_ran_with(name: str) -> None:
    tested = locked("all.lock")
    assert len(locked(name)) > 40
    assert {package for package, versions in locked(name).items() if not versions <= tested[package]} == set()


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("serve.lock", {"torch", "torchvision", "prefect", "dask", "distributed", "onnx", "bokeh"}),
        ("flows.lock", {"torch", "torchvision", "triton", "nvidia-cublas"}),
    ],
)
def test_an_image_does_not_get_what_it_never_uses(name: str, absent: set[str]) -> None:
    assert absent <= locked("all.lock").keys()
    assert locked(name).keys() & absent == set()


def test_the_context_holds_all_that_is_copied() -> None:
    sent = [
        line[1:]
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert "requirements/serve.lock" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [
        source
        for source in sources
        if not any(Path(source).match(one) or Path(source).is_relative_to(one) for one in sent)
    ] == []


@pytest.mark.slow
def test_hadolint_has_nothing_to_say(image_tools: Tools) -> None:
    image_tools.run("hadolint", str(DOCKERFILE), str(DOCKERFILE.parent / "services" / "Dockerfile"))


def scan(tools: Tools, folder: Path) -> list[dict[str, Any]]:
    """Return what Trivy's policies say of each Dockerfile in a folder."""
    options = ["--skip-check-update", "--quiet", "--format", "json"]
    results: list[dict[str, Any]] = json.loads(run([tools.trivy, "config", *options, str(folder)], timeout=120))[
        "Results"
    ]
    return results


def findings(results: list[dict[str, Any]]) -> set[str]:
    return {fault["ID"] for one in results for fault in one.get("Misconfigurations", [])}


@pytest.mark.slow
def test_policies_find_what_the_docs_explain(image_tools: Tools) -> None:
    results = scan(image_tools, DOCKERFILE.parent)
    assert sorted(one["Target"] for one in results) == ["Dockerfile", "services/Dockerfile"]
    assert sum(one["MisconfSummary"]["Successes"] for one in results) > 40
    explained = set(re.findall(r"^\| (DS\d+) \|", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE))
    assert findings(results) == explained


@pytest.mark.slow
def test_policies_find_an_image_that_runs_as_root(image_tools: Tools, tmp_path: Path) -> None:
    careless = re.sub(r"^USER .*$", "USER root", DOCKERFILE.read_text(), flags=re.MULTILINE)
    (tmp_path / "Dockerfile").write_text(careless)
    assert "DS002" in findings(scan(image_tools, tmp_path))
