"""The element for a shop's own pages, on a page of another site."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, expect

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.web.page import STATIC, WIDGET
from tests.support.processes import server
from tests.support.shop import Shop, picture, write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.services]

PAGE = """<!doctype html><meta charset="utf-8"><meta http-equiv="content-security-policy"
  content="default-src 'none'; script-src {url}; connect-src {url}; img-src {url}; style-src 'self'">
<script type="module" src="{url}/static/{widget}"></script>
<lookalike-search id="by-picture" k="3"></lookalike-search>
<lookalike-search id="by-product" k="4" similar-to="hats/001.png" filter="category=hats"></lookalike-search>
"""


def test_it_is_small() -> None:
    assert (STATIC / WIDGET).stat().st_size < 10_000


@pytest.fixture(scope="module")
def shop_page(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Page]:
    """A page of another site, with a strict policy."""
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(write_pictures(folder, 12)))
    site = ThreadingHTTPServer(("127.0.0.1", port), partial(_Site, directory=str(folder)))
    Thread(target=site.serve_forever, daemon=True).start()
    try:
        with server(folder, LOOKALIKE_WEB__CORS_ORIGINS=f"http://127.0.0.1:{port}") as running:
            running.wait(lambda state: state["ready"])
            Path(folder / "page.html").write_text(PAGE.format(url=running.url, widget=WIDGET))
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}/page.html")
            yield page
            page.close()
    finally:
        site.shutdown()
        site.server_close()


class _Site(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
        pass


@pytest.mark.system
def test_it_searches_by_a_picture_and_tells_what_was_chosen(shop_page: Page) -> None:
    widget = shop_page.locator("#by-picture")
    widget.locator("input").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": picture(7)})
    expect(widget.locator("li")).to_have_count(3)
    expect(widget.locator("li").first).to_contain_text("Product 7 <b>&</b>")
    shop_page.evaluate("addEventListener('lookalike-select', (event) => { window.chosen = event.detail.id; })")
    widget.locator("a").first.click()
    assert shop_page.evaluate("window.chosen") == "hats/001.png"
    natural = widget.locator("img").first.evaluate("(image) => image.decode().then(() => image.naturalWidth)")
    assert natural == 64


@pytest.mark.system
def test_it_shows_what_is_like_a_product(shop_page: Page) -> None:
    widget = shop_page.locator("#by-product")
    expect(widget.locator("form")).to_be_hidden()
    expect(widget.locator("li").first).to_be_visible()


@pytest.mark.system
def test_it_says_when_nothing_came(shop_page: Page) -> None:
    widget = shop_page.locator("#by-picture")
    widget.locator("input").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(widget.get_by_role("status")).to_contain_text("This did not work")
