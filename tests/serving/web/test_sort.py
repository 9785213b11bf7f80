"""The sort menu, counts that follow the query, and a server that allows little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from lookalike.data.stores.local import LocalStore
from tests.serving.web.conftest import BRANDS, PATIENCE, OpenShopper, attributes, make_rows
from tests.serving.web.shoppers import Shopper
from tests.support.processes import server
from tests.support.shop import Shop

pytestmark = [pytest.mark.slow, pytest.mark.services]

CHEAPEST = "attributes.price:asc"
NEWEST = "attributes.added:desc"


def sort(shopper: Shopper, value: str) -> None:
    """Choose an order, and wait until it is there."""
    shopper.page.locator("#sort").select_option(value)
    wait_for_the_grid(shopper)


def wait_for_the_grid(shopper: Shopper) -> None:
    expect(shopper.page.locator("#grid")).not_to_have_attribute("aria-busy", "true")


def check_order(shopper: Shopper, *, descending: bool = False) -> None:
    """Look once whether the products are in the order of their numbers: the next page may come at any time."""
    wait_for_the_grid(shopper)
    numbers = shopper.numbers
    assert numbers
    assert numbers == sorted(numbers, reverse=descending)


def similar(shopper: Shopper, **more: Any) -> list[int]:
    """Ask the server for what the page calls similar to the product 4, or closer."""
    least = shopper.page.evaluate(
        """async () => {
          const search = await import(document.querySelector('link[href$="search.js"]').href);
          const { snapshot, products } = await (await fetch("v1/products?limit=1")).json();
          const chance = await search.findChance(snapshot, products);
          return chance + 0.2 * (1 - chance);
        }"""
    )
    query = {"product_id": "p4", "k": 60, "collapse": "duplicates", "min_score": least, **more}
    reply = shopper.page.request.post("/v1/search", data=query).json()
    return [int(hit["id"][1:]) for hit in reply["hits"]]


def test_what_is_similar_is_sorted_and_the_address_holds_it(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p4")
    page = shopper.page
    expect(page.locator("#sort option")).to_have_text(
        ["Closest first", "Price: low to high", "Price: high to low", "Added: newest first", "Added: oldest first"]
    )
    closest = shopper.numbers
    sort(shopper, CHEAPEST)
    assert shopper.numbers == sorted(similar(shopper))
    assert shopper.address == "?like=p4&sort=attributes.price%3Aasc"
    expect(page.locator(".line")).to_have_count(0)  # what is less alike is not among them
    sort(shopper, NEWEST)
    months = [attributes(number)["added"].month for number in shopper.numbers]
    assert months == sorted(months, reverse=True)
    page.go_back()
    expect(page.locator("#sort")).to_have_value(CHEAPEST)
    check_order(shopper)
    page.reload()
    expect(page.locator("#sort")).to_have_value(CHEAPEST)
    expect(shopper.cards.first).to_be_visible()
    assert shopper.numbers == sorted(similar(shopper))
    sort(shopper, "")
    assert shopper.numbers == closest
    sort(shopper, CHEAPEST)
    shopper.show(7)  # another picture: closest first again
    shopper.see_first(7)
    expect(page.locator("#sort")).to_have_value("")


@pytest.mark.system
def test_where_nothing_is_similar_the_nearest_are_sorted(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p4")
    far = shopper.page.request.post("/v1/search", data={"product_id": "p4", "k": 60}).json()["hits"][-3:]
    serials = (
        "&".join(f"is.serial={hit['attributes']['serial']}" for hit in far).replace("<", "%3C").replace(">", "%3E")
    )
    shopper.page.goto(f"/?like=p4&{serials}&sort=attributes.price%3Adesc")
    expect(shopper.cards).to_have_count(3)
    check_order(shopper, descending=True)


def test_a_list_is_sorted_as_a_whole(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?is.brand=Acme&sort=attributes.price%3Adesc")
    expect(shopper.page.locator("#results-title")).to_have_text("20 products")
    assert shopper.numbers == list(range(57, -1, -3))
    expect(shopper.page.locator("#sort option").first).to_have_text("Mixed")
    shopper.page.goto("/?sort=attributes.price%3Adesc")
    expect(shopper.page.locator("#results-title")).to_have_text("60 products")
    assert shopper.numbers[:3] == [59, 58, 57]


@pytest.mark.system
def test_an_order_that_is_gone_can_be_left(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p4")
    shopper.expect_faults("422")
    shopper.page.goto("/?like=p4&sort=attributes.weight%3Aasc")
    expect(shopper.message).to_contain_text("A filter does not fit these products")
    shopper.page.goto("/?like=p4&sort=attributes.brand%3Aasc")
    expect(shopper.message).to_contain_text("These products have no such order")
    shopper.message.get_by_role("button", name="Clear").click()
    expect(shopper.cards.first).to_be_visible()


def test_counts_follow_the_query(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p4&is.brand=Acme")
    found = similar(shopper)
    of_brands = {brand: sum(attributes(number)["brand"] == brand for number in found) for brand in BRANDS}
    assert 0 < sum(of_brands.values()) < 59
    rows = shopper.open_filter("Brand").locator(".value")
    expect(rows).to_have_count(3)
    counts = dict(
        zip(rows.locator(".value-name").all_inner_texts(), rows.locator(".count").all_inner_texts(), strict=True)
    )
    assert counts == {brand: str(count) for brand, count in of_brands.items() if count}
    chosen = [attributes(number)["price"] for number in found if attributes(number)["brand"] == "Acme"]
    ends = shopper.open_filter("Price").locator(".ends")
    expect(ends).to_have_text(f"There is {min(chosen):g} to {max(chosen):g}.")


def test_a_look_up_is_counted_too(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?find=product+1")  # 1, 10 to 19, 21, 31, …
    found = [number for number in range(60) if "1" in str(number)]
    counts = shopper.open_filter("Brand").locator(".count")
    wanted = [sum(attributes(number)["brand"] == brand for number in found) for brand in BRANDS]
    expect(counts).to_have_text(sorted(map(str, filter(None, wanted)), reverse=True))


@pytest.mark.system
@pytest.mark.parametrize("is_counting", [True, False])
def test_the_page_asks_for_what_a_server_allows(browser: Browser, tmp_path: Path, *, is_counting: bool) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    shop.point_at(shop.build_rows(make_rows(tmp_path)))
    limits = {"K": 5, "OFFSET": 40, "EXAMPLES": 3, "QUERIES": 2, "FACETS": 2 if is_counting else 0}
    named = {f"LOOKALIKE_LIMITS__MAX_{name}": str(value) for name, value in limits.items()}
    with server(tmp_path, **named) as running:
        running.wait(lambda state: state["ready"])
        context = browser.new_context(base_url=running.url, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        try:
            shopper = Shopper(context.new_page(), "/")
            expect(shopper.page.locator(".tile")).to_have_count(4)
            shopper.page.goto("/?like=p4")
            expect(shopper.cards.nth(5)).to_be_attached()  # a second page
            shopper.page.locator("#results").focus()
            shopper.cards.first.locator(".card-link").click()
            expect(shopper.panel.locator(".strip .card").first).to_be_visible()
            shopper.page.goto("/?like=p4&is.brand=Acme")
            if is_counting:
                expect(shopper.open_filter("Brand").locator(".count")).to_have_count(3)
                sort(shopper, CHEAPEST)
                check_order(shopper)
            else:
                expect(shopper.cards.first).to_be_visible()
                expect(shopper.page.locator("details.filter")).to_have_count(0)
            shopper.check()
        finally:
            context.close()
