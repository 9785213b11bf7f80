"""The TypeScript client: its types are those of the OpenAPI document, and it asks a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.typescript.document import write_document
from tests.support.processes import Server
from tests.support.shop import Shop, product_ids

SOURCE = Path(__file__).parents[3] / "clients" / "typescript"

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client with its packages."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "openapi.json"))
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode:
        pytest.skip(f"npm cannot install its packages: {done.stderr[-300:]}")
    return folder


def test_types_are_those_of_the_document(folder: Path) -> None:
    write_document(folder / "openapi.json")
    committed = (folder / "src" / "schema.ts").read_text(encoding="utf-8")
    run(folder, "npm", "run", "generate")
    assert (folder / "src" / "schema.ts").read_text(encoding="utf-8") == committed, (
        "the types are old: run make clients"
    )


def test_it_asks_a_server(folder: Path, running: Server, api_key: str, shop: Shop) -> None:
    run(folder, "npm", "run", "build")
    picture = shop.folder / "pictures-1" / "0006.png"
    built = folder / "dist" / "index.js"
    said = run(
        folder,
        *("node", str(Path(__file__).with_name("asks.mjs")), str(built), running.url, api_key, str(picture)),
        json.dumps(product_ids(8)),
    )
    found = json.loads(said)
    assert [product["id"] for product in found["products"]] == product_ids(8)
    assert not any(product["isHit"] for product in found["products"])
    assert all(product["bytes"] > 100 for product in found["products"])
    assert found["hits"][0] == product_ids(7)[6]
    assert (found["facets"], found["batch"], found["snapshot"]) == (["category"], ["hits", "unknown_product"], 24)
    assert found["prices"] == sorted(found["prices"], reverse=True)
    assert found["listed"] == sorted(found["listed"])
    assert len(found["prices"]) == len(found["listed"]) == 5
    assert found["named"] == ["Product 7 <b>&</b>", "product", True]
    assert found["suggested"] == [{"text": "product", "word": "product", "products": 24}]
    assert found["small"] > 100
    assert found["tries"] == 3
    assert found["unknown"] == {"code": "unknown_product", "status": 404, "hasId": True}
    assert found["wrongK"]["code"] == "bad_k"
    assert found["wrongKey"]["status"] == 401
    assert found["away"] == {"code": "connection", "hasKey": False}


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
