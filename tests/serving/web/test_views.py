"""The panel of a product with several pictures: all of them are there, and each can be made the large one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from lookalike.data.stores.local import LocalStore
from tests.support.browsers import require_browser
from tests.support.processes import server
from tests.support.shop import Shop, picture

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve eight products, of which p1 has three pictures."""
    require_browser()
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for number in range(8):
        files = [folder / f"{number}-{view}.png" for view in range(1, 4 if number == 1 else 2)]
        for view, file in enumerate(files, 1):
            file.write_bytes(picture(100 * view + number))
        shown = {"title": f"Product {number}", "image": str(files[0]), "views": [str(file) for file in files[1:]]}
        rows.append({"id": f"p{number}", **shown, "attributes": {"price": float(number)}})
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(rows))
    with server(folder) as running:
        running.wait(lambda state: state["ready"])
        yield running.url


def test_all_pictures_are_there_and_one_is_large(address: str, browser: Browser) -> None:
    with browser.new_page() as page:
        page.goto(f"{address}/?product=p1")
        views, large = page.locator("#panel-views button"), page.locator("#panel-picture")
        expect(views).to_have_count(3)
        expect(views.first).to_have_attribute("aria-pressed", "true")
        views.nth(2).click()
        expect(large).to_have_attribute("src", "/v1/products/p1/image?view=3&size=1024")
        expect(views.nth(2)).to_have_attribute("aria-pressed", "true")
        expect(views.first).to_have_attribute("aria-pressed", "false")
        expect(views.nth(1).locator("img")).to_have_js_property("complete", True)
        views.first.click()
        expect(large).to_have_attribute("src", "/v1/products/p1/image?size=1024")
        page.goto(f"{address}/?product=p2")
        expect(page.locator("#panel-title")).to_have_text("Product 2")
        expect(views).to_have_count(0)
