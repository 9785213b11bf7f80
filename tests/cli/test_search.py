"""`lookalike search --url` on a machine whose environment names a proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lookalike.cli import cli
from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture, product_ids

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Server]:
    Shop(LocalStore(folder / "store"), folder).publish(8)
    with server(folder) as found:
        found.wait(lambda state: state["ready"])
        yield found


@pytest.mark.services
@pytest.mark.parametrize("known", [{}, {"no_proxy": "shop.example"}, {"NO_PROXY": "10.0.0.0/8"}])
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    running: Server, tmp_path: Path, known: dict[str, str]
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(picture(1))
    dead = f"http://127.0.0.1:{free_port()}"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY"), dead)
    command = [str(BIN / "lookalike"), "search", str(image), "--url", running.url, "-k", "1"]
    env = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    found = subprocess.run(command, env={**env, **proxies, **known}, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("1.000  a")


def test_the_client_of_a_run_asks_no_proxy_for_this_machine() -> None:
    code = (
        "import lookalike, httpx, os; client = httpx.Client(); own = client._transport\n"
        "for host in ('127.0.0.1:4200', '[::1]:4200', 'localhost', 'elsewhere'):\n"
        "    print(client._transport_for_url(httpx.URL(f'http://{host}')) is own)"
    )
    env = {**os.environ, "http_proxy": "http://192.0.2.1:3128", "no_proxy": "shop.example"}
    code += "\nprint(os.environ['no_proxy'])"
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "True", "True", "False", "shop.example,127.0.0.1,localhost,::1"]


def test_a_past_snapshot_is_asked_by_name(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    old, new = shop.publish(8), shop.publish(9)
    image = tmp_path / "a.png"
    image.write_bytes(picture(8))
    for asked, answers, hits in (
        ([], new.id, 9),
        (["--snapshot", "previous"], old.id, 8),
        (["--snapshot", old.id], old.id, 8),
    ):
        done = CliRunner().invoke(cli, ["search", str(image), "--store", shop.store.uri, "--output", "json", *asked])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["snapshot"], len(found["hits"])) == (answers, hits)


@pytest.mark.services
def test_store_and_server_sort_alike(running: Server, folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(picture(1))
    found = []
    for where in (["--store", str(folder / "store")], ["--url", running.url]):
        done = CliRunner().invoke(
            cli, ["search", str(image), *where, "-k", "5", "--sort", "price:desc", "--output", "json"]
        )
        assert done.exit_code == 0, done.output
        found.append([hit["id"] for hit in json.loads(done.stdout)["hits"]])
    assert found[0] == found[1] == list(reversed(product_ids(7)))[:5]  # the eighth has no price


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("category:asc", "'category' is of type string"),
        ("colour", "there is no attribute 'colour' to sort by; the attributes are: category, new, price"),
        (":desc", "names nothing to sort by"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(tmp_path: Path, order: str, said: str) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(picture(1))
    Shop(LocalStore(tmp_path / "store"), tmp_path).publish(8)
    found = CliRunner().invoke(cli, ["search", str(image), "--store", str(tmp_path / "store"), "--sort", order])
    assert (found.exit_code, said in found.output) == (2, True), found.output


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Server]]:
    """A shop whose titles are encoded, too."""
    folder = tmp_path_factory.mktemp("named")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.text_encoder = "fake"
    shop.publish(8)
    with server(folder) as found:
        found.wait(lambda state: state["ready"])
        yield folder, found


@pytest.mark.services
@pytest.mark.parametrize("shop", ["running", "named"])
@pytest.mark.parametrize("has_picture", [False, True])
def test_store_and_server_find_a_text_alike(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path, shop: str, has_picture: bool
) -> None:
    found_shop = request.getfixturevalue(shop)
    place, asked_server = found_shop if shop == "named" else (folder, found_shop)
    image = tmp_path / "a.png"
    image.write_bytes(picture(1))
    found = []
    for where in (["--store", str(place / "store")], ["--url", asked_server.url]):
        asked = ["search", *([str(image)] if has_picture else []), "--text", "product 5 sale", "--filter", "stock>=2"]
        done = CliRunner().invoke(cli, [*asked, *where, "--output", "json"])
        assert done.exit_code == 0, done.output
        found.append([(hit["id"], round(hit["score"], 5)) for hit in json.loads(done.stdout)["hits"]])
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert has_picture or found[0][0][0] == product_ids(8)[5]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "name a picture, or write --text"),
        (["--text", "?!"], "`text` holds no word"),
        (["--text", "hat", "--sort", "category"], "'category' is of type string"),
        (["--text", "hat", "--filter", "nothing=1"], "nothing"),
    ],
)
def test_a_text_that_cannot_be_searched_for_is_refused(tmp_path: Path, asked: list[str], said: str) -> None:
    Shop(LocalStore(tmp_path / "store"), tmp_path).publish(8)
    found = CliRunner().invoke(cli, ["search", *asked, "--store", str(tmp_path / "store")])
    assert (found.exit_code, said in found.output) == (2, True), found.output
