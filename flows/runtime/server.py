"""The Prefect server of a run that is given none: it starts while the run's process imports what it needs.

Prefect would start one too, but only when a flow begins, and after it imported the whole server into that process. This
module imports nothing of Prefect, so that it can come first.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lookalike.data.errors import UnavailableError

ADDRESS = "PREFECT_API_URL"
START_SECONDS = 120.0  # a busy machine takes its time
STOP_SECONDS = 5.0
_FILES = ("prefect.toml", "pyproject.toml", ".env")
"""In the working folder: Prefect takes settings from them."""
_SERVE = """
import os, signal, sys, threading

def end_with_parent():  # its end of the pipe is closed, however it ends
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_parent, daemon=True).start()

from lookalike.data.imports import imports_uncollected

with imports_uncollected():
    import uvicorn
    from prefect.server.api.server import create_app

uvicorn.run(create_app, factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""
_AS_PREFECT_STARTS_IT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@dataclass(frozen=True)
class Server:
    """A server that starts, or has started; `log` is what it writes."""

    process: subprocess.Popen[bytes]
    address: str
    log: IO[bytes]

    def wait(self) -> None:
        """Wait until it answers. Raises `UnavailableError` where it ends, or does not come."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(
                    f"the Prefect server that this run started for itself does not answer: {self._last_line()}; "
                    f"start one with `prefect server start`, and name it in {ADDRESS}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as reply:  # noqa: S310 - of our own
                return bool(reply.status == 200)
        except OSError:
            return False

    def _last_line(self) -> str:
        self.log.seek(0)
        return "".join(self.log.read().decode(errors="replace").strip().splitlines()[-1:]) or "it wrote nothing"


def start_server() -> Server | None:
    """Start a server and name it to this process, unless Prefect's settings name one.

    It ends with this process, however that ends; after all that is imported later, because Prefect still sends its last
    events and logs then.
    """
    if is_named():
        return None
    port, log = _free_port(), tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this process lives
    server = Server(_start(port, log), f"http://127.0.0.1:{port}/api", log)
    atexit.register(server.stop)
    os.environ[ADDRESS] = server.address
    return server


def is_named() -> bool:
    """Tell whether Prefect's settings may name a server, or say in another way how to come to one.

    To ask Prefect itself takes a second. So a file that speaks of such settings counts, and Prefect reads it.
    """
    if any(os.environ.get(name) for name in (ADDRESS, "PREFECT_PROFILE", "PREFECT_SERVER_EPHEMERAL_ENABLED")):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    return any(_speaks_of_prefect(file) for file in (profiles, *map(Path, _FILES)))


def _speaks_of_prefect(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return file.name == "prefect.toml" or ADDRESS in text.upper() or "[tool.prefect" in text


def _start(port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _SERVE, str(port)]
    variables = os.environ | _AS_PREFECT_STARTS_IT
    return subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=log, stderr=log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
