"""Nothing is sent to anybody: what each command asks for over the network, and what it leaves in a home, recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lookalike.data.stores import open_store
from tests.support.pictures import write_catalogue
from tests.support.processes import command, server
from tests.support.servers import seed_database
from tests.support.shop import Shop
from tests.support.traces import strangers, use_home_of_nobody

OURS = {".prefect", ".lookalike"}  # Prefect's database is on this machine
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a store, made before there is a home to look at."""
    folder = tmp_path_factory.mktemp("shop")
    write_catalogue(folder / "pictures", 30)
    Shop(open_store(str(folder / "store")), folder / "shop").publish(8)
    return folder


@pytest.fixture
def home(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_home_of_nobody(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


def test_the_trace_shows_who_is_asked(strace: list[str], home: Path, tmp_path: Path) -> None:
    """Else the tests below could not fail. The address is one of documentation: nobody has it."""
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.7', 53))"
    subprocess.run([*strace, "-o", str(tmp_path / "trace"), sys.executable, "-c", code], check=True)
    assert strangers((tmp_path / "trace").read_text()) == {"192.0.2.7"}


def test_onnx_runtime_alone_leaves_an_id_of_this_machine(home: Path) -> None:
    """Why the variables are there. If this fails, it has stopped, and they can go."""
    subprocess.run([sys.executable, "-c", "import onnxruntime; onnxruntime.get_available_providers()"], check=True)
    assert list(home.rglob("deviceid"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["reindex", "pictures", "--encoder", "fake", "--store", "new"],
        ["search", "pictures/hats/0001.png", "--store", "store", "-k", "1"],
        ["encoders", "list"],
        ["snapshots", "verify", "--store", "store"],
        ["doctor", "--store", "store"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_asks_nobody(arguments: list[str], strace: list[str], home: Path, shop: Path, tmp_path: Path) -> None:
    if arguments[0] == "reindex":
        seed_database(home / ".prefect")  # of the server that it starts
    done = command(shop, *arguments, under=[*strace, "-o", str(tmp_path / "trace")])
    assert done.returncode == 0, done.stderr
    assert strangers((tmp_path / "trace").read_text()) == set()
    assert {path.name for path in home.iterdir() if path.name != ".cache"} <= OURS
    assert not [path for path in home.rglob("*") if "deviceid" in path.name.lower() or "Microsoft" in path.parts]
    assert "telemetry" not in (done.stdout + done.stderr).lower()


def test_a_server_asks_nobody(strace: list[str], home: Path, shop: Path, tmp_path: Path) -> None:
    traced = [*strace, "--daemonize", "-o", str(tmp_path / "trace")]
    with server(tmp_path, under=traced, LOOKALIKE_STORE=str(shop / "store")) as running:
        running.wait(lambda state: state["ready"])
    assert strangers((tmp_path / "trace").read_text()) == set()
    assert list(home.iterdir()) == []
