"""The demo: everything as processes, on a tiny folder of pictures, with the encoder that needs no model."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from lookalike.data.errors import CatalogueError, InputError
from lookalike.data.snapshots.channels import check_channel_name
from lookalike.infra.demo import openmoji
from lookalike.infra.demo.demo import DemoOptions, choose_channel, run
from lookalike.infra.demo.processes import HOST, free_port
from tests.support.servers import seed_database
from tests.support.traces import strangers, use_home_of_nobody

PICTURES = 24
CODE = """
import sys
from lookalike.infra.demo.demo import DemoOptions, choose_channel, run
sys.exit(run(DemoOptions(once=sys.argv[1] == "once", catalogue=sys.argv[2], port=int(sys.argv[3]), encoder="fake")))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    openmoji.render(folder / "sample", limit=PICTURES, processes=1)
    seed_database(folder / "store" / "prefect")
    return folder


@contextmanager
def demo(home: Path, mode: str, under: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run a demo; whatever happens, end it. `under` is a program that runs it, such as a tracer."""
    command = [*under, sys.executable, "-c", CODE, mode, str(home / "sample/products.csv"), str(free_port())]
    process = subprocess.Popen(
        command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        with process:
            try:
                yield process
            finally:
                process.terminate()
    finally:
        process.kill()


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"LOOKALIKE_STORE": str(home / "store"), "PYTHONUNBUFFERED": "1"}


def left(home: Path) -> list[str]:
    """Return what still runs of the demos of this store."""
    mark = f"LOOKALIKE_STORE={home / 'store'}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if wanted in line:
            return seen
    pytest.fail(f"the demo ended without saying {wanted!r}:\n{seen}")


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(300)
def test_once_does_everything_and_ends_and_asks_nobody(
    home: Path, strace: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_home_of_nobody(monkeypatch, tmp_path)
    # the trace has all processes of the demo: the Prefect server and worker, the Dask scheduler and workers, the server
    with demo(home, "once", under=[*strace, "--daemonize", "-o", str(home / "trace")]) as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert strangers((home / "trace").read_text()) == set()
    assert not list(tmp_path.rglob("*deviceid*"))
    assert f"{PICTURES} products ({PICTURES} embedded, 0 reused)" in output
    assert "next run on" in output
    assert re.search(r"^ +1 +\d\.\d{3} .*← itself", output, re.MULTILINE), output
    assert "It works." in output
    assert left(home) == []


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(300)
def test_the_running_system_shows_its_schedule_and_ctrl_c_leaves_nothing(home: Path) -> None:
    with demo(home, "stay") as process:
        output = read_until(process, "Ctrl-C stops everything")
        addresses = dict(re.findall(r"^  (\w+ \w+) +(http\S+)$", output, re.MULTILINE))
        assert httpx.get(addresses["Search page"]).is_success
        assert httpx.get(addresses["API docs"]).is_success
        assert httpx.get(addresses["Prefect UI"]).is_success
        assert httpx.get(addresses["Dask dashboard"]).is_success
        deployment = httpx.get(f"{addresses['Prefect UI']}/api/deployments/name/reindex/nightly").json()
        assert deployment["parameters"]["catalogue"] == str(home / "sample/products.csv")
        assert [schedule["active"] for schedule in deployment["schedules"]] == [True]
        assert len(left(home)) > 10
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
    assert "nothing is left running" in rest
    assert process.returncode == 0
    assert left(home) == []


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
def test_ctrl_c_while_it_starts_leaves_nothing(home: Path) -> None:
    with demo(home, "stay") as process:
        read_until(process, "find what looks like this")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left(home) == []


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
def test_a_service_that_dies_ends_the_demo_with_its_log(home: Path) -> None:
    with demo(home, "stay") as process:
        read_until(process, "find what looks like this")
        deadline = time.monotonic() + 20
        while not (schedulers := pids(home, "dask scheduler")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(schedulers[-1], signal.SIGKILL)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "the Dask scheduler died with exit status 137. The end of " in output
    assert "Everything has been stopped" in output
    assert left(home) == []


def pids(home: Path, command: str) -> list[int]:
    """Return the processes of this store's demo with such a command line, guards left out."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            mine = str(home / "store") in (entry / "environ").read_text() if command in line else False
        except (OSError, UnicodeDecodeError):
            continue
        if mine and "guard.py" not in line:
            found.append(int(entry.name))
    return found


def test_a_bad_catalogue_is_said_before_anything_starts(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with pytest.raises(CatalogueError, match="there is no catalogue at"):
        run(DemoOptions(catalogue=str(tmp_path / "nothing"), port=free_port(), store=str(store)))
    assert not store.exists()


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is taken: stop what listens there, or choose another one"):
            run(DemoOptions(port=port, store=str(tmp_path / "store")))
    assert not (tmp_path / "store").exists()


def test_each_catalogue_has_a_channel_of_its_own() -> None:
    channels = [choose_channel(one) for one in ("/home/me/My Shop", "/srv/My Shop", "s3://bucket/Schuhe.CSV", "/ü")]
    assert [one.rpartition("-")[0] for one in channels] == ["my-shop", "my-shop", "schuhe-csv", "own"]
    assert len(set(channels)) == 4
    for one in channels:
        check_channel_name(one)
