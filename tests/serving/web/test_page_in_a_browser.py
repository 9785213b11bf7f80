"""The search page in Chromium, before a real server: what a person sees, and what a keyboard reaches."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from lookalike.data.stores.local import LocalStore
from lookalike.serving.web.docs import FILES, SWAGGER
from tests.support.browsers import opened, require_browser
from tests.support.processes import server
from tests.support.shop import Shop, picture

pytestmark = [pytest.mark.slow, pytest.mark.services]

COUNT = 40
CATEGORIES = ["shoes", " hats", '"q"', ""]
ODD = ["made in eu", "sold in store", "a=b", "size<=m"]


def attributes(number: int) -> dict[str, Any]:
    """Names that hold operators, and values that only quotes tell from others."""
    odd = number % 2 == 1
    values = [odd, "yes, please" if odd else "no", "x\ny" if odd else '"x', "" if odd else " s "]
    return {"category": CATEGORIES[number % 4], **dict(zip(ODD, values, strict=True))}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_browser()
    folder: Path = tmp_path_factory.mktemp("shop")
    rows = []
    for number in range(COUNT):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number))
        row = {"id": f"p{number}", "title": f"Product {number}", "image": str(file), "attributes": attributes(number)}
        rows.append(row)
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(rows))
    with server(folder) as running:
        running.wait(lambda state: state["ready"])
        yield running.url


@pytest.fixture(scope="module")
def browser_page(url: str) -> Iterator[Page]:
    with opened(url, {"width": 1200, "height": 900}) as page:
        page.set_default_timeout(5_000)
        yield page


def require_swagger() -> None:
    """Skip the test where `make setup` has not yet installed what `/docs` shows."""
    if len(SWAGGER) == len(FILES):
        return
    if os.environ.get("CI") == "true":
        pytest.fail("there is no Swagger UI: run `make setup`")
    pytest.skip("there is no Swagger UI")


def test_docs_are_drawn_without_another_host(url: str) -> None:
    require_swagger()
    asked: list[str] = []
    said: list[str] = []
    with opened(url, {"width": 1200, "height": 900}) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto("/docs")
        routes = page.locator(".opblock")
        expect(routes).to_have_count(14)
        route = page.locator("#operations-products-productImage")
        route.locator(".opblock-summary-control").click()
        route.get_by_role("button", name="Try it out").click()
        route.get_by_placeholder("product_id").fill("p1")
        route.get_by_role("button", name="Execute").click()
        picture_shown = route.locator(".live-responses-table img")
        expect(picture_shown).to_be_visible()
        page.wait_for_function("image => image.naturalWidth > 0", arg=picture_shown.element_handle())
    assert said == [], "the policy forbids something that the page does"
    assert {address for address in asked if not address.startswith((f"{url}/", "blob:", "data:"))} == set()
    assert f"{url}/v1/products/p1/image" in asked


@pytest.fixture
def page(browser_page: Page) -> Iterator[Page]:
    """The page as it is when it was just opened, with samples."""
    browser_page.goto("/")
    expect(cards(browser_page)).to_have_count(18)
    yield browser_page
    browser_page.unroute_all(behavior="ignoreErrors")


def cards(page: Page) -> Any:
    return page.locator("#grid .card")


def titles(page: Page) -> list[str]:
    found: list[str] = page.locator("#grid .title").all_inner_texts()
    return found


def upload(page: Page, seed: int, name: str = "shoe.png") -> None:
    file: FilePayload = {"name": name, "mimeType": "image/png", "buffer": picture(seed)}
    page.set_input_files("#file", file)


def first_title(page: Page) -> Any:
    return cards(page).first.locator(".title")


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.id || document.activeElement.className")
    return found


def busy(route: Route) -> None:
    problem = {"title": "The server is busy", "detail": "Try again in a second.", "code": "overloaded", "status": 429}
    route.fulfill(status=429, json=problem)


def test_the_skip_link_leads_to_the_results_and_keeps_them(page: Page) -> None:
    upload(page, 7)
    expect(first_title(page)).to_have_text("Product 7")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert focused(page) == "results"
    expect(first_title(page)).to_have_text("Product 7")
    expect(page.locator("#results-title")).to_have_text("Lookalikes")
    page.keyboard.press("Tab")
    assert focused(page) == "card"


def test_back_from_a_picture_shows_the_samples(page: Page) -> None:
    upload(page, 7)
    expect(page.locator("#results-title")).to_have_text("Lookalikes")
    page.go_back()
    expect(page.locator("#results-title")).to_have_text("Or begin with one of these")
    expect(cards(page)).to_have_count(18)


def test_a_further_page_that_fails_leaves_what_is_shown_and_can_be_tried_again(page: Page) -> None:
    upload(page, 7)
    expect(cards(page)).to_have_count(24)
    page.route("**/v1/search", busy)
    page.locator("#more").click()
    expect(page.get_by_role("alert")).to_contain_text("The server is busy")
    expect(cards(page)).to_have_count(24)
    expect(page.locator("#retry")).to_be_focused()
    expect(page.locator("#retry")).to_be_in_viewport()
    expect(cards(page).last).to_be_in_viewport()
    page.unroute("**/v1/search")
    page.locator("#retry").click()
    expect(cards(page)).to_have_count(COUNT)
    expect(page.locator("#message")).to_be_hidden()
    expect(cards(page).nth(24)).to_be_focused()


def test_a_first_page_that_fails_can_be_tried_again(page: Page) -> None:
    page.route("**/v1/search", busy)
    upload(page, 7)
    expect(page.get_by_role("alert")).to_contain_text("The server is busy")
    expect(cards(page)).to_have_count(0)
    page.unroute("**/v1/search")
    page.locator("#retry").click()
    expect(cards(page)).to_have_count(24)
    assert focused(page) == "results"


def test_a_picture_that_takes_long_to_shrink_gives_way_to_the_next(page: Page) -> None:
    page.evaluate(
        """() => {
          const decode = window.createImageBitmap;
          const slow = new Promise((done) => { window.goOn = done; });
          window.createImageBitmap = async (file) => { if (file.name === "slow.png") await slow; return decode(file); };
        }"""
    )
    upload(page, 3, "slow.png")
    upload(page, 7)
    expect(first_title(page)).to_have_text("Product 7")
    page.evaluate("goOn()")
    page.wait_for_timeout(500)
    expect(first_title(page)).to_have_text("Product 7")


def test_a_filter_that_is_chosen_while_a_picture_shrinks_keeps_the_picture(page: Page) -> None:
    page.evaluate(
        """() => {
          const decode = window.createImageBitmap;
          const slow = new Promise((done) => { window.goOn = done; });
          window.createImageBitmap = async (file) => { await slow; return decode(file); };
        }"""
    )
    upload(page, 4)
    page.get_by_role("button", name="shoes", exact=True).click()
    page.evaluate("goOn()")
    expect(first_title(page)).to_have_text("Product 4")
    expect(page.locator("#drop-lead")).to_have_text("Your picture")


def test_a_product_in_the_address_that_answers_late_gives_way_to_the_one_chosen(page: Page) -> None:
    page.goto("/?like=p5")
    cards(page).first.click()
    expect(cards(page)).to_have_count(24)
    waiting: list[Route] = []
    page.route("**/v1/products/p5", lambda route, request: waiting.append(route))
    page.go_back()
    page.wait_for_timeout(500)
    assert waiting
    chosen = cards(page).nth(3).locator(".title").inner_text()
    cards(page).nth(3).click()
    expect(cards(page)).to_have_count(24)
    for route in waiting:
        route.continue_()
    page.wait_for_timeout(500)
    expect(page.locator("#drop-lead")).to_have_text(chosen)
    assert page.evaluate("`?like=${state.query.product}` === location.search")


def test_the_product_in_the_address_is_named_and_shown(page: Page) -> None:
    page.goto("/?like=p5")
    expect(page.locator("#drop-lead")).to_have_text("Product 5")
    expect(page.locator("#preview")).to_have_attribute("src", "/v1/products/p5/image?size=256")
    expect(page.locator("#preview")).to_be_visible()
    expect(cards(page)).to_have_count(24)


def test_choosing_a_card_leads_the_keyboard_to_the_results(page: Page) -> None:
    cards(page).nth(3).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results-title")).to_have_text("Lookalikes")
    expect(page.locator("#results")).to_be_focused()
    expect(cards(page)).to_have_count(24)
    page.keyboard.press("Tab")
    expect(cards(page).first).to_be_focused()


def test_that_nothing_was_found_is_announced(page: Page) -> None:
    nothing = {"snapshot": "s", "took_ms": 1.0, "hits": []}
    page.route("**/v1/search", lambda route: route.fulfill(json=nothing))
    upload(page, 7)
    expect(page.get_by_role("alert")).to_contain_text("No lookalikes")


def test_an_empty_text_is_a_value_like_others(page: Page) -> None:
    chips = page.locator(".chip")
    assert sorted(chips.all_inner_texts()) == sorted(["All", "shoes", "hats", '"q"', "(blank)"])
    assert page.locator(".chip[aria-pressed=true]").all_inner_texts() == ["All"]
    page.get_by_role("button", name="(blank)").click()
    expect(cards(page)).to_have_count(COUNT // 4)
    assert page.locator(".chip[aria-pressed=true]").all_inner_texts() == ["(blank)"]
    page.get_by_role("button", name="All").click()
    expect(cards(page)).to_have_count(18)


def test_a_choice_has_the_empty_text_and_any(page: Page) -> None:
    choice = page.locator(".filter:has(.filter-name:text-is('size<=m')) select")
    choice.select_option(label="(blank) (20)")
    expect_only(page, "size<=m", "", 18)
    choice.select_option(label="any")
    expect(cards(page)).to_have_count(18)
    assert {number % 2 for number in map(int, re.findall(r"\d+", " ".join(titles(page))))} == {0, 1}


def test_every_filter_that_is_offered_can_be_chosen(page: Page) -> None:
    for name in ODD:
        choice = page.locator(f".filter:has(.filter-name:text-is('{name}')) select")
        for place, value in enumerate(offered(page)[name]["values"], start=1):
            choice.select_option(index=place)
            expect_only(page, name, value, 18)
            upload(page, 7)
            expect_only(page, name, value, 24)
            cards(page).first.click()
            expect_only(page, name, value, COUNT // 2 - 1)  # it is no lookalike of itself
            page.locator("#clear").click()
            expect_only(page, name, value, 18)
        choice.select_option(label="any")
        expect(cards(page)).to_have_count(18)


def test_every_category_can_be_chosen(page: Page) -> None:
    for value in CATEGORIES:
        page.locator(".chip").get_by_text(value.strip() or "(blank)", exact=True).click()
        expect_only(page, "category", value, 18)


def offered(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.request.get("/v1/snapshots/current").json()["attributes"]
    return found


def expect_only(page: Page, name: str, value: str, most: int) -> None:
    """Expect as many products as a page shows of those with a value, and no others."""
    values = [attributes(number)[name] for number in range(COUNT)]
    fitting = [f"Product {number}" for number, one in enumerate(values) if one in (value, value == "true")]
    expect(cards(page)).to_have_count(min(most, len(fitting)))
    assert set(titles(page)) <= set(fitting)
