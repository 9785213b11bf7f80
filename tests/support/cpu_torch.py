"""Torch for CPUs, for an image that is built in tests.

PyTorch keeps those builds at an index of its own, which is not reached everywhere. `TORCH_INDEX` names one. Without it,
a wheel that pip finds on this machine will do (`PIP_FIND_LINKS`): it is served as such an index, and the image is built
with its version instead of the locked one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.support.engine import ROOT

_PYTHONS = {"3.13": "trixie", "3.11": "bookworm"}  # versions of Python that Debian's releases have
_LOCKED = re.compile(r"^(torch|torchvision)==.*\n", re.MULTILINE)


@dataclass(frozen=True)
class Wheel:
    """A wheel of torch for CPUs, and the release of Debian whose Python it is for."""

    path: Path
    release: str

    @property
    def version(self) -> str:
        """Its version, as in `2.13.0+cpu`."""
        return self.path.name.split("-")[1]


def is_index_named() -> bool:
    """Return whether the environment names an index with torch for CPUs."""
    return "TORCH_INDEX" in os.environ


def find_wheel(folder: Path) -> Wheel | None:
    """Copy a wheel that pip finds on this machine into an empty folder; `None` if it finds none."""
    command = [sys.executable, "-m", "pip", "download", "torch", "--quiet", "--no-index", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder)]
    for python, release in _PYTHONS.items():
        subprocess.run([*command, "--python-version", python], capture_output=True, check=False, timeout=300)
        if found := next(folder.glob("torch-*+cpu-*.whl"), None):
            return Wheel(found, release)
    return None


def copy_source(wheel: Wheel, folder: Path) -> None:
    """Copy what images are built from, with the version of `wheel` in the lock.

    Torchvision is left out: its wheel loads the locked torch alone, and no encoder that comes along needs it.
    """
    sent = (ROOT / "infra" / "images" / "Dockerfile.dockerignore").read_text().splitlines()
    names = {line[1:].split("/")[0] for line in sent if line.startswith("!")}
    for name in (*sorted(names), "Makefile"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy2(path, folder / name)
    lock = folder / "requirements" / "batch.lock"
    lock.write_text(_LOCKED.sub("", lock.read_text()) + f"torch=={wheel.version}\n")


@contextmanager
def index_of(wheel: Wheel) -> Iterator[str]:
    """Serve a wheel as a package index (PEP 503); yield its address. The wheel's folder must be named `torch`."""
    handler = partial(_Quiet, directory=str(wheel.path.parent.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name of the class above
        pass
