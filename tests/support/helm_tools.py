"""Helm and what checks a chart: programs and schemas in wheels and npm's packages, in an environment of their own."""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.engine import ROOT, run

CHART = ROOT / "infra" / "helm" / "lookalike"
RELEASE, NAMESPACE = "shop", "shops"


@dataclass(frozen=True)
class HelmTools:
    """Where the programs are."""

    folder: Path

    def run(self, program: str, *arguments: str) -> str:
        """Run one; return its output, or raise `AssertionError` with all that it said."""
        homes = {f"HELM_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        return run([str(self.folder / program), *arguments], environment={**os.environ, **homes}, timeout=120)

    def render(self, *arguments: str) -> str:
        """Return what the chart becomes, as YAML."""
        return self.run("bin/helm", "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments)

    def dask_schema(self, kind: str) -> dict[str, Any]:
        """Return Dask's own schema of one of its kinds."""
        pattern = f"lib/python*/site-packages/dask_kubernetes/operator/deployment/helm/**/{kind.lower()}.yaml"
        [file] = self.folder.glob(pattern)
        [version] = yaml.safe_load(file.read_text())["spec"]["versions"]
        found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
        return found


@pytest.fixture(scope="session")
def helm_tools() -> HelmTools:
    """Provide Helm, and the schemas of `infra/helm`."""
    if shutil.which("npm") is None:
        pytest.skip("the schemas of custom kinds come from npm, and there is none")
    folder = ROOT / "build" / "helm-tools"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:  # several test processes may ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run(["make", "helm-tools"], environment=environment, timeout=280)
    return HelmTools(folder)
