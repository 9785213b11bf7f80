"""One server and one browser for all tests of the search page in a process; each test has a tab of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from lookalike.data.stores.local import LocalStore
from tests.serving.web.shoppers import SHAPES, Shopper
from tests.support.browsers import launched, require_browser
from tests.support.processes import server
from tests.support.shop import Shop, picture

COUNT = 60
CATEGORIES = ["Shoes", " hats", '"q"', ""]
BRANDS = ["Acme", "Zeta", "Lee, Inc.", "Ōkami"]

AXE = "axe-core@4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

PATIENCE = 30_000
"""Milliseconds that a test waits before it fails: a busy machine may take its time."""

OpenShopper = Callable[..., Shopper]


def attributes(number: int) -> dict[str, Any]:
    """Values of all types, and names and values that only quotes tell from others."""
    odd = number % 2 == 1
    return {
        "category": CATEGORIES[number % 4],
        "brand": BRANDS[number % 3],
        "price": 10.0 + number,
        "currency": "EUR",
        "made in eu": odd,
        "a=b": "yes, please" if odd else "no",
        "size<=m": "" if odd else " s ",
        "lines": "x\ny" if odd else '"x',
        "tags": ["red", "sale"] if odd else ["blue"],
        "added": date(2026, 1 + number % 12, 15),
        "link": f"https://shop.example/{number}",
        "serial": f"no-{number}-<b>",
    }


def make_rows(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for number in range(COUNT):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number, SHAPES[number % 4]))
        row = {"id": f"p{number}", "title": f"Product {number} <i>&amp;</i>", "image": str(file)}
        rows.append({**row, "attributes": attributes(number)})
    return rows


@pytest.fixture(scope="session")
def shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_browser()
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    rows = make_rows(folder)
    near = [[rows[number]["image"] for number in (8, 9, 10)]]
    shop.point_at(shop.build_rows(rows, near=near))
    with server(folder) as running:
        running.wait(lambda state: state["ready"])
        yield running.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """No longer than a module: while Playwright runs, no other test of the process can have an event loop."""
    require_browser()
    expect.set_options(timeout=PATIENCE)
    with launched() as browser:
        yield browser


@pytest.fixture
def open_shopper(browser: Browser, shop_url: str) -> Iterator[OpenShopper]:
    """Open the page as somebody does who has no tab with it yet; no console message may be left at the end."""
    with ExitStack() as stack:
        shoppers: list[Shopper] = []

        def open_one(path: str = "/", *, phone: bool = False, **options: Any) -> Shopper:
            size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
            # animations draw each frame, which costs as much as all else
            given = {"viewport": size, "has_touch": phone, "is_mobile": phone, "reduced_motion": "reduce", **options}
            context = browser.new_context(base_url=shop_url, **given)
            context.set_default_timeout(PATIENCE)
            stack.callback(context.close)
            shoppers.append(Shopper(context.new_page(), path))
            return shoppers[-1]

        yield open_one
        for shopper in shoppers:
            shopper.page.unroute_all(
                behavior="ignoreErrors"
            )  # a request may be under way that a test no longer waits for
            shopper.check()


@pytest.fixture
def shopper(open_shopper: OpenShopper) -> Shopper:
    return open_shopper()


@pytest.fixture
def page(shopper: Shopper) -> Page:
    return shopper.page


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script that looks for violations."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder: Path = tmp_path_factory.mktemp("axe")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), AXE]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode:
        pytest.skip(f"npm cannot install {AXE}: {done.stderr[-300:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def find_violations(page: Page, axe: str) -> list[tuple[str, list[str]]]:
    """Return what axe finds on a page: each rule that is broken, with some of the elements."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("(tags) => axe.run({ runOnly: tags })", RULES)
    return [(one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found["violations"]]
