"""A stranger's first hour as a script: an own folder, a picture, a crop, a filter, a change, and a step back.

`pytest tests/test_first_hour.py -s` prints how long each step took.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.context import AccessScope
from tests.serving.web.shoppers import Shopper
from tests.support.browsers import opened, require_browser
from tests.support.processes import command, server
from tests.support.shop import picture

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

PRODUCTS = 24


@contextmanager
def step(name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"{name:<44} {time.monotonic() - started:5.1f} s")  # noqa: T201 - what it is for


def write_shop(folder: Path, count: int) -> None:
    """Write pictures, and a table as a spreadsheet exports it."""
    rows = ["sku;title;picture;price"]
    for number in range(count):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number))
        rows.append(f"p{number};Product {number};{file.name};{10 + number},90 EUR")
    (folder / "products.csv").write_text("\n".join(rows), encoding="utf-8")


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    columns = ["--columns", "id=sku,image=picture", "--encoder", "fake", "--output", "json"]
    done = command(folder, *arguments, "products.csv", *columns)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def search_with_a_crop(page: Page) -> None:
    shopper = Shopper(page, "/")
    with step("a picture is searched"):
        page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": picture(7)})
        expect(shopper.cards.first.locator(".title")).to_have_text("Product 7")
    with step("a part of it"):
        page.get_by_role("button", name="bottom right").focus()
        page.keyboard.press("Shift+ArrowLeft")
        expect(page).to_have_url(re.compile("crop="))
    with step("under 20 euros"):
        body = shopper.open_filter("Price")
        body.get_by_label("Price to").fill("20")
        page.keyboard.press("Enter")
        expect(page.locator("#grid .card:not(.skeleton)").first).to_be_visible()
        expect(page).to_have_url(re.compile("price"))
    assert all(int(title.split()[1]) < 10 for title in shopper.titles)


def test_from_an_own_folder_to_a_rollback(tmp_path: Path) -> None:
    require_browser()
    write_shop(tmp_path, PRODUCTS)
    store = ["--store", "store"]
    with step("the catalogue is indexed"):
        first = run(tmp_path, "reindex", *store)
    assert (first["state"], first["products"]) == ("published", PRODUCTS)
    key, text = create_key("Ann", [AccessScope.ADMIN, AccessScope.SEARCH])
    add_key(tmp_path / "keys.json", key)
    settings = {"LOOKALIKE_ACCESS__KEYS_FILE": str(tmp_path / "keys.json"), "LOOKALIKE_CONSOLE__MOVES": "true"}
    with server(tmp_path, **settings) as running, opened(running.url, {"width": 1280, "height": 900}) as page:
        with step("the server is ready"):
            running.wait(lambda state: state["ready"])
        page.add_init_script(f"sessionStorage.setItem('key', {text!r})")
        search_with_a_crop(page)
        with step("another product is found and served"):
            write_shop(tmp_path, PRODUCTS + 1)
            second = run(tmp_path, "refresh", *store)
            running.wait(lambda state: state["snapshot"] == second["snapshot"])
        with step("a step back in the console"):
            page.goto("/console")
            page.get_by_role("button", name="Roll back").click()
            page.get_by_label("Why?").fill("we tried it")
            page.keyboard.press("Enter")
            running.wait(lambda state: state["snapshot"] == first["snapshot"])
    with step("a run leaves it there"):
        assert run(tmp_path, "refresh", *store)["state"] == "skipped"
