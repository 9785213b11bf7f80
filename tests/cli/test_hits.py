"""`lookalike search` for people: lines for programs, a table in a terminal, and pictures where a server has them."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from fcntl import ioctl
from importlib.util import find_spec
from pathlib import Path

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from tests.serving.conftest import make_settings
from tests.support.listening import Listening, listening
from tests.support.servers import ROOT
from tests.support.shop import Shop, picture

HALF_CELL = "\u2580"
needs_extra = pytest.mark.skipif(
    find_spec("textual_image") is None and os.environ.get("CI") != "true", reason="run `make setup`: no textual-image"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Listening, Path]]:
    folder = tmp_path_factory.mktemp("shop")
    Shop(LocalStore(folder / "store"), folder).publish(8)
    (folder / "query.png").write_bytes(picture(1))
    with listening(make_settings(folder, port=free_port())) as found:
        yield found, folder


def run_in_terminal(*arguments: str, columns: int = 100) -> str:
    """Return what the command writes to a terminal of its own, without what moves the cursor."""
    terminal, inside = pty.openpty()
    ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    command = [sys.executable, "-m", "lookalike", *arguments]
    running = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    parts = []
    with suppress(OSError):  # as Linux has it where the other end is closed
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    assert running.wait(60) == 0, parts
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(parts).decode())


@needs_extra
@pytest.mark.services
def test_a_terminal_shows_a_table_with_pictures(served: tuple[Listening, Path]) -> None:
    server, folder = served
    shown = run_in_terminal("search", str(folder / "query.png"), "--url", server.url, "-k", "2")
    head = next(line for line in shown.splitlines() if "score" in line)
    assert head.split() == ["score", "id", "title", "attributes"]
    assert re.search(r"1\.000 +a +Product 1 <b>&</b> +category=hats", shown)
    assert "Traceback" not in shown
    assert len([line for line in shown.splitlines() if HALF_CELL in line]) == 8
