"""Server processes for tests: the real thing on a port of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from lookalike.infra.demo.processes import free_port
from tests.support.client import wait_for
from tests.support.servers import ROOT

PROGRAM = str(Path(sys.executable).parent / "lookalike")


class Server:
    """A server process; `url` is where it answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._http = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._http.get("/readyz", timeout=5, headers={"Connection": "close"}).json()
        except httpx.HTTPError:
            return {"ready": False}
        return found

    def fresh(self, path: str, headers: dict[str, str], **body: Any) -> httpx.Response:
        """Post over a connection of its own: any of the workers may answer."""
        return self._http.post(path, json=body, headers={"Connection": "close", **headers})

    def wait(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return wait_for(self.state, what, 60)

    def close(self) -> None:
        self._http.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def command(
    folder: Path, *arguments: str, under: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line in a folder; return how it ended. `under` is a program that runs it, such as a tracer."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOOKALIKE_BATCH_WORKERS": "1", **variables}
    return subprocess.run(
        [*under, sys.executable, "-m", "lookalike", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@contextmanager
def server(folder: Path, *, under: Sequence[str] = (), program: str = PROGRAM, **settings: str) -> Iterator[Server]:
    """Run `lookalike serve` until the context ends; `under` is a program that runs it, such as a tracer."""
    port = free_port()
    given = {
        "LOOKALIKE_STORE": str(folder / "store"),
        "LOOKALIKE_CACHE": str(folder / "cache"),
        "LOOKALIKE_PORT": str(port),
        "LOOKALIKE_POLL_SECONDS": "0.2",
        **settings,
    }
    log = folder / f"server-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*under, program, "serve"], env={**os.environ, **given}, stdout=file, stderr=subprocess.STDOUT
        )
    running = Server(process, port, log)
    try:
        yield running
    finally:
        running.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
