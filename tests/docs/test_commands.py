"""What README and docs tell people to type: each command exists, and each request is answered."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from lookalike.cli import cli
from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from tests.serving.conftest import make_settings
from tests.support.listening import listening
from tests.support.shop import Shop, picture, write_pictures

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVER = "127.0.0.1:8000"
IDS = ("shoes/red sneaker.png", "shoes/blue sneaker.png", "shoes/black boot.png")


def typed(page: Path) -> Iterator[str]:
    """Yield the commands of a page's console blocks, each with all of its lines."""
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        lines = iter(block.splitlines())
        for line in lines:
            if not line.startswith("$ "):
                continue
            command = line[2:]
            while not _is_whole(command):
                command += "\n" + next(lines)
            yield command


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quotation goes on
        return False
    return not command.endswith("\\")


def mentioned(page: Path) -> Iterator[str]:
    """Yield the commands of ours that are named in sentences."""
    yield from re.findall(r"`(lookalike [a-z][^`|]*)`", page.read_text(encoding="utf-8"))


TYPED = [(page, command) for page in PAGES for command in typed(page)]
OURS = [
    *(command for _, command in TYPED if command.startswith("lookalike ")),
    *(command for page in PAGES for command in mentioned(page)),
]
ASKED = [command for _, command in TYPED if command.startswith("curl ") and SERVER in command]


@pytest.mark.parametrize("command", sorted(set(OURS)))
def test_a_command_of_ours_exists_with_its_options(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    found: click.Command = cli
    context = click.Context(cli)
    while isinstance(found, click.Group) and words:
        following = found.get_command(context, words[0])
        assert following is not None, f"there is no {words[0]!r} in {command!r}"
        found, words = following, words[1:]
        context = click.Context(found, parent=context)
    names = {name for one in found.params if isinstance(one, click.Option) for name in one.opts}
    assert {word for word in words if word.startswith("--")} <= names


def test_each_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for _, command in TYPED:
        if command.startswith("make "):
            named = {word for word in shlex.split(command, comments=True)[1:] if "=" not in word}
            assert named <= targets, command


def test_each_module_that_is_run_exists() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    modules = set(re.findall(r"python -m (tests\.[\w.]+|lookalike[\w.]*)", text))
    assert len(modules) > 10
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with the products that the docs ask for, and the pictures that they send."""
    folder = tmp_path_factory.mktemp("docs")
    shop = Shop(LocalStore(folder / "store"), folder)
    rows = write_pictures(folder, 12)
    for number, row in enumerate(rows):
        row["attributes"] |= {"category": "shoes", "brand": "acme" if number % 2 else "zeta", "colour": "red"}
    for row, name in zip(rows, IDS, strict=False):
        row["id"] = name
    shop.point_at(shop.build_rows(rows))
    for seed, name in enumerate(("shoe.jpg", "boot.jpg")):
        (folder / name).write_bytes(picture(seed, kind="JPEG"))
    return folder


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[dict[str, Any]]:
    """An open server, one with keys, and the keys."""
    search, key = create_key("shop", [AccessScope.SEARCH])
    admin, admin_key = create_key("operator", [AccessScope.ADMIN])
    keys = KeysDocument(keys=(search, admin)).model_dump_json()
    gateways = {"graphql": {"enabled": True}, "poll_seconds": 1.0}
    opened = make_settings(folder, port=free_port(), **gateways)
    locked = make_settings(folder, port=free_port(), access={"keys": keys}, **gateways)
    with listening(opened), listening(locked):
        yield {"opened": opened.port, "locked": locked.port, "KEY": key, "ADMIN_KEY": admin_key}


def run_there(folder: Path, port: int, text: str, *program: str, **variables: str) -> str:
    done = subprocess.run(
        [*program, text.replace(SERVER, f"127.0.0.1:{port}")],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("command", ASKED)
def test_each_request_is_answered(command: str, folder: Path, ports: dict[str, Any]) -> None:
    port = ports["locked" if "KEY" in command else "opened"]
    checked = f'curl() {{ command curl --silent --show-error --fail-with-body "$@"; }}\n{command}'
    answer = run_there(folder, port, checked, "bash", "-c", KEY=ports["KEY"], ADMIN_KEY=ports["ADMIN_KEY"])
    assert answer or "-o " in command


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```", PAGES[0].read_text(), re.MULTILINE | re.DOTALL))
def test_each_example_of_the_readme_runs(code: str, folder: Path, ports: dict[str, Any]) -> None:
    assert run_there(folder, ports["opened"], code, sys.executable, "-c")
