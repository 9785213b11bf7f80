"""The system of `infra/compose`, brought up as people do, under a name of its own, on an engine of tests."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lookalike.infra.demo.processes import free_port
from tests.support.engine import DOCKER, ROOT, Engine, build_options, run
from tests.support.image_tools import Tools

FOLDER = ROOT / "infra" / "compose"
PROJECT = "lookalike-tests"
PICTURES = 40
UP_SECONDS = 900


@dataclass(frozen=True)
class Stack:
    """A running system; `settings` is its `.env`."""

    engine: Engine
    program: str
    settings: Path

    @property
    def values(self) -> dict[str, str]:
        """What the settings say."""
        return dict(re.findall(r"^([A-Z_]+)=(.*)$", self.settings.read_text(), re.MULTILINE))

    @property
    def search_url(self) -> str:
        return f"http://127.0.0.1:{self.values['SEARCH_PORT']}"

    @property
    def environment(self) -> dict[str, str]:
        """What programs on this host need, such as rollout.py."""
        compose = f"{self.program} --env-file {self.settings}"
        return {**self.engine.environment, "COMPOSE": compose, "DOCKER": DOCKER}

    def make(self, target: str, *variables: str, timeout: float = 120) -> str:
        """Run a target of the Makefile as people do."""
        with tempfile.TemporaryDirectory() as folder:
            given = [
                f"SETTINGS={self.settings}",
                f"COMPOSE={self.program}",
                f"BUILD={' '.join(build_options(Path(folder)))}",
            ]
            return run(["make", target, *given, *variables], environment=self.engine.environment, timeout=timeout)

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        command = [self.program, "--env-file", str(self.settings), "--project-directory", str(FOLDER), *arguments]
        return run(command, environment=self.engine.environment, timeout=timeout)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """Return what the engine knows of the containers of one service, or of all."""
        names = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        found: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", *names)) if names else []
        return found

    def prefect(self) -> httpx.Client:
        """Return a client of Prefect's API, as an operator has on this host."""
        values = self.values
        url = f"http://127.0.0.1:{values['PREFECT_PORT']}/api"
        return httpx.Client(base_url=url, auth=("lookalike", values["PREFECT_PASSWORD"]), timeout=30)

    def prometheus(self, query: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.values['PROMETHEUS_PORT']}/api/v1/query"
        found: list[dict[str, Any]] = httpx.get(url, params={"query": query}, timeout=30).json()["data"]["result"]
        return found


@contextmanager
def running_stack(engine: Engine, tools: Tools, folder: Path) -> Iterator[Stack]:
    """Bring the system up with the sample catalogue; remove all of it at the end, its data too."""
    stack = Stack(engine, str(tools.folder / "bin" / "docker-compose"), folder / "settings.env")
    stack.make("settings")
    choose(stack.settings, certificates=folder / "certificates")
    try:
        stack.make("up", timeout=UP_SECONDS)
        yield stack
    finally:
        stack.make("down", "VOLUMES=1")


def choose(settings: Path, *, certificates: Path, project: str = PROJECT) -> None:
    """Change the settings to free ports, a small sample, and encoders and images that this machine can build.

    There is no index with torch for CPUs here, so runs have the image without it, and pictures the encoder of tests.
    """
    text = settings.read_text()
    given = {
        "COMPOSE_PROJECT_NAME": project,
        "CERTIFICATES": str(certificates),
        "ENCODER": "fake",
        "SAMPLE_PICTURES": str(PICTURES),
        "BATCH_IMAGE": "lookalike/flows:tests",
        **{name: str(free_port()) for name in re.findall(r"^([A-Z_]+_PORT)=", text, re.MULTILINE)},
    }
    text = re.sub(r"(?m)^([A-Z_]+_IMAGE=lookalike/\w+):.*$", r"\1:tests", text)
    for name, value in given.items():
        text, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", text)
        assert count == 1, name
    settings.write_text(text)
