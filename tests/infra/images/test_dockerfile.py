"""The Dockerfile and the locks that it installs: what can be said without an engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
