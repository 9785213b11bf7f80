"""The start and the grid: what is seen first, what moves, what Back and reload bring back."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.serving.web.conftest import CATEGORIES, COUNT, OpenShopper
from tests.serving.web.shoppers import Shopper

pytestmark = [pytest.mark.slow, pytest.mark.services]

MOVED = 0.05
"""The layout shift that counts as good is 0.1."""


def test_the_start_shows_one_picture_of_each_category(shopper: Shopper) -> None:
    expect(shopper.cards).to_have_count(len(CATEGORIES))
    names = sorted(shopper.page.locator("#grid .tile .title").all_inner_texts())
    assert names == sorted(["Shoes", "hats", '"q"', "(blank)"])
    for tile in shopper.cards.all():
        expect(tile.locator("img.there")).to_have_count(1)
    assert shopper.shifts < MOVED
    shopper.page.get_by_role("button", name="(blank) 15").click()
    expect(shopper.page.locator("#results-title")).to_have_text("15 products")
    expect(shopper.cards).to_have_count(15)
    assert {number % 4 for number in shopper.numbers} == {3}
    shopper.page.go_back()
    expect(shopper.cards).to_have_count(len(CATEGORIES))
    shopper.cards.first.locator("a").click()
    expect(shopper.page.locator("#results-title")).to_have_text("Lookalikes")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_nothing_moves_and_results_are_in_the_first_screen(open_shopper: OpenShopper, phone: bool) -> None:
    shopper = open_shopper("/?like=p5", phone=phone)
    page = shopper.page
    shopper.see_first(52)
    expect(page.locator("#grid img.there").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert shopper.shifts < MOVED
    frames = page.locator("#grid .frame")
    expect(frames.nth(1)).to_be_in_viewport(ratio=1)
    boxes = [frame.bounding_box() for frame in frames.all()[:8]]
    assert all(box and abs(box["width"] - box["height"]) < 1 for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.system
def test_pictures_of_odd_shapes_are_shown_whole(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?is.category=%22q%22&is.category=Shoes")
    expect(shopper.cards).to_have_count(24)
    for number, card in list(zip(shopper.numbers, shopper.cards.all(), strict=True))[:8]:
        card.scroll_into_view_if_needed()
        expect(card.locator("img.there")).to_have_count(1)
        fit = card.locator("img").evaluate("(image) => getComputedStyle(image).objectFit")
        assert fit == ("contain" if number % 4 == 2 else "cover")


@pytest.mark.system
def test_closeness_is_said_in_words_and_in_figures_on_demand(shopper: Shopper) -> None:
    shopper.page.goto("/?like=p5")
    shopper.see_first(52)
    first = shopper.cards.first.locator(".closeness")
    expect(first).to_contain_text("lose")
    expect(first.locator(".figure")).to_be_hidden()
    shopper.page.get_by_role("button", name="Scores").click()
    expect(first.locator(".figure")).to_be_visible()


@pytest.mark.system
def test_weak_hits_are_below_a_line(shopper: Shopper) -> None:
    def answer(route: Route) -> None:
        reply: dict[str, Any] = route.fetch().json()
        for place, hit in enumerate(reply["hits"]):
            hit["score"] = [0.99, 0.7, 0.4, 0.1][min(place, 3)]
        route.fulfill(json=reply)

    shopper.page.route("**/v1/search", answer)
    shopper.page.goto("/?like=p5")
    words = shopper.page.locator("#grid .closeness")
    expect(words.first).to_be_visible()
    order = shopper.page.locator("#grid > li").evaluate_all("(all) => all.slice(0, 6).map((one) => one.className)")
    assert order == ["card", "card", "card", "line", "card weak", "card weak"]
    assert shopper.page.locator("#grid .closeness").evaluate_all(
        "(all) => all.slice(0, 4).map((one) => one.firstChild.data)"
    ) == ["The same", "Very close", "Similar", "Less alike"]


def test_duplicates_are_one_card_that_leads_to_the_others(shopper: Shopper) -> None:
    shopper.page.goto("/?like=p20")
    group = shopper.cards.filter(has=shopper.page.locator(".duplicates"))
    expect(group).to_have_count(1)
    expect(group.locator(".duplicates")).to_have_text("+2 like it")
    assert len({8, 9, 10} & set(shopper.numbers)) == 1
    group.locator(".duplicates").click()
    expect(shopper.panel.get_by_role("heading", name="The same picture (2 products)")).to_be_visible()


def test_the_grid_grows_to_its_end_and_back_finds_its_place(shopper: Shopper) -> None:
    page = shopper.page
    page.goto("/?like=p5")
    expect(shopper.cards).not_to_have_count(0)
    shopper.scroll_to_end(COUNT - 3)  # itself and two duplicates
    card = shopper.cards.nth(45)
    card.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    place, number = page.evaluate("scrollY"), shopper.numbers[45]
    assert place > 500
    card.hover()
    card.get_by_role("button", name="Lookalikes of").click()
    expect(page.locator("#query-name")).to_contain_text(f"Product {number} ")
    assert page.evaluate("scrollY") < place
    page.go_back()
    expect(page.locator("#query-name")).to_contain_text("Product 5 ")
    expect(card).to_be_in_viewport()
    assert abs(page.evaluate("scrollY") - place) < 4
    page.reload()
    expect(card).to_be_in_viewport()
    assert shopper.numbers[45] == number


@pytest.mark.system
def test_the_skip_link_leads_to_the_results(shopper: Shopper) -> None:
    expect(shopper.cards).to_have_count(len(CATEGORIES))
    shopper.page.keyboard.press("Tab")
    assert shopper.focused() == "skip"
    shopper.page.keyboard.press("Enter")
    assert shopper.focused() == "results"
    assert shopper.address == ""


def test_from_start_to_product_by_keyboard(page: Page, shopper: Shopper) -> None:
    expect(shopper.cards).to_have_count(len(CATEGORIES))
    page.locator("#find-text").focus()
    page.keyboard.type("product 7 <i>")
    page.keyboard.press("Enter")
    shopper.see_first(7)
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    while shopper.focused() != "card-link":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(shopper.panel.get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(shopper.panel).to_be_hidden()
    assert shopper.focused() == "card-link"


@pytest.mark.parametrize(("typed", "number"), [("PRODUCT 13", 13), ("p13", 13), ("nothing of it", None)])
def test_a_title_or_a_number_is_looked_up(shopper: Shopper, typed: str, number: int | None) -> None:
    shopper.page.locator("#find-text").fill(typed)
    shopper.page.keyboard.press("Enter")
    if number is None:
        expect(shopper.message).to_contain_text("Nothing is called “nothing of it”")
        expect(shopper.cards).to_have_count(0)
    else:
        shopper.see_first(number)
    shopper.page.go_back()
    expect(shopper.cards).to_have_count(len(CATEGORIES))


@pytest.mark.system
def test_a_look_up_does_not_wait_for_the_modules(shopper: Shopper) -> None:
    shopper.page.route("**/app.js", lambda route: route.abort())
    shopper.expect_faults("app.js")
    shopper.page.add_init_script("sessionStorage.setItem('tries', '4')")  # it loads itself again late
    shopper.page.goto("/")
    shopper.page.locator("#find-text").fill("p7")
    shopper.page.unroute("**/app.js")
    shopper.page.keyboard.press("Enter")
    expect(shopper.cards).to_have_count(1)
    assert shopper.address == "?text=p7"
