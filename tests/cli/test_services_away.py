"""Each command with each service that it uses away: one sentence, in seconds, and never a traceback.

The commands are those of the command line itself, so that a new one is tried, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import s3fs
from click.testing import CliRunner

from lookalike.cli import cli
from tests.support.pictures import write_catalogue
from tests.support.servers import as_prefect_client

NOBODY = "127.0.0.1:9"  # the port "discard", which nobody serves
BUCKET = "s3://away/shop"
ON_THIS_MACHINE = {"demo", "encoders list", "keys create", "keys list", "keys revoke"}  # they use no service of others
WAITS = {"serve"}  # a server starts without its store, and says so: tests/serving/live/test_follower.py
REPORTS = {"doctor"}  # what is wrong is what it prints
FLOWS = {"reindex", "refresh"}
STORES = {"snapshots copy": "source"}  # stores that are arguments

pytestmark = pytest.mark.slow


def find_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from find_commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(find_commands(cli))


def having(option: str) -> list[str]:
    return [name for name, command in COMMANDS.items() if option in {one.name for one in command.params}]


@pytest.fixture(autouse=True)
def _fresh_clients() -> Iterator[None]:
    """A client of S3 remembers the endpoint that it began with, in another test of this process too."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("away")
    write_catalogue(folder / "pictures", 12)
    return folder


def ends_in_a_sentence(name: str, shop: Path, *options: str, says: str, seconds: float = 30) -> None:
    given = {"image": next((shop / "pictures").rglob("*.png")), "catalogue": shop / "pictures", "name": "fake"}
    given |= {"source": BUCKET, "target": shop / "copy"}
    known = [one for one in COMMANDS[name].params if isinstance(one, click.Argument)]
    needed = [one for one in known if one.required or one.name == "image"]  # or there is nothing to search for
    arguments = [str(given.get(str(one.name), "0123")) for one in needed]
    began = time.monotonic()
    done = CliRunner().invoke(cli, [*name.split(), *arguments, *options])
    assert time.monotonic() - began < seconds
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert says in done.output
    assert "Traceback" not in done.output
    if name not in REPORTS:
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stderr.startswith("Error: ")


def test_every_command_is_known() -> None:
    """A new command uses the store, or it is named here with what it does without."""
    assert COMMANDS.keys() == {*having("store"), *ON_THIS_MACHINE, *STORES}
    assert having("url") == ["search"]
    assert set(having("store")) >= FLOWS | WAITS | REPORTS


@pytest.mark.parametrize("name", [one for one in having("store") if one not in {*WAITS, *FLOWS}])
def test_a_store_that_is_away(name: str, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at_nobody(monkeypatch)
    ends_in_a_sentence(name, shop, "--store", BUCKET, says=f'Could not connect to the endpoint URL: "http://{NOBODY}/')


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_is_an_argument_and_away(name: str, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STORES[name] in {one.name for one in COMMANDS[name].params}
    point_at_nobody(monkeypatch)
    ends_in_a_sentence(name, shop, says=f'Could not connect to the endpoint URL: "http://{NOBODY}/')


@pytest.mark.parametrize("name", having("url"))
def test_a_server_that_is_away(name: str, shop: Path) -> None:
    ends_in_a_sentence(name, shop, "--url", f"http://{NOBODY}", says=f"Error: http://{NOBODY} does not answer")


@pytest.mark.services
@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize("name", sorted(FLOWS))
@pytest.mark.parametrize("service", ["store", "Dask", "Prefect"])
def test_a_run_whose_service_is_away(
    name: str, service: str, shop: Path, tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, api = str(tmp_path / "store"), prefect_api
    if service == "store":
        point_at_nobody(monkeypatch)
        store, says = BUCKET, f'Could not connect to the endpoint URL: "http://{NOBODY}/'
    elif service == "Dask":
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", f"tcp://{NOBODY}")
        says = f"no Dask scheduler answers at tcp://{NOBODY} (DASK_SCHEDULER_ADDRESS): start it"
    else:
        api = f"http://{NOBODY}/api"
        says = f"no Prefect server answers at {api} (PREFECT_API_URL): start it"
    monkeypatch.setenv("PREFECT_API_URL", api)
    with as_prefect_client(api):
        ends_in_a_sentence(name, shop, "--store", store, "--encoder", "fake", says=says, seconds=120)


def point_at_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{NOBODY}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
