"""Filters: several values, ranges, counts that follow, chips, the drawer, and what is nearest."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.serving.web.conftest import COUNT, OpenShopper, attributes
from tests.serving.web.shoppers import Shopper

pytestmark = [pytest.mark.slow, pytest.mark.services]

ODD = {"made in eu": "Yes", "a=b": "yes, please", "size<=m": "(blank)"}


def fitting(**wanted: object) -> set[int]:
    return {number for number in range(COUNT) if wanted.items() <= attributes(number).items()}


def choose(shopper: Shopper, name: str, value: str) -> None:
    shopper.open_filter(name).locator("label", has=shopper.page.get_by_text(value, exact=True)).click()


def test_several_values_are_chosen_and_counts_follow(shopper: Shopper) -> None:
    choose(shopper, "Brand", "Acme")
    expect(shopper.page.locator("#results-title")).to_have_text("20 products")
    choose(shopper, "Brand", "Lee, Inc.")
    expect(shopper.page.locator("#results-title")).to_have_text("40 products")
    assert set(shopper.numbers) <= fitting(brand="Acme") | fitting(brand="Lee, Inc.")
    counts = shopper.open_filter("Category").locator(".count")
    expect(counts).to_have_count(4)
    assert counts.all_inner_texts() == ["10", "10", "10", "10"]
    brands = shopper.open_filter("Brand").locator(".count")
    assert brands.all_inner_texts() == ["20", "20", "20"]  # what each would add, whatever is chosen of them
    assert shopper.address == "?is.brand=Acme&is.brand=Lee%2C+Inc."
    shopper.page.get_by_role("button", name="Remove Brand: Acme").click()
    expect(shopper.page.locator("#results-title")).to_have_text("20 products")
    shopper.page.go_back()
    expect(shopper.page.locator("#results-title")).to_have_text("40 products")
    shopper.page.reload()
    expect(shopper.page.locator("#results-title")).to_have_text("40 products")
    shopper.page.get_by_role("button", name="Clear all").click()
    expect(shopper.page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.system
@pytest.mark.parametrize(("name", "value"), ODD.items())
def test_odd_names_and_values_are_chosen_as_others(open_shopper: OpenShopper, name: str, value: str) -> None:
    shopper = open_shopper("/?like=p4")
    choose(shopper, name, value)
    shopper.page.keyboard.press("Escape")
    expect(shopper.page.locator("#chips .chip")).to_have_count(1)
    expect(shopper.page.locator("#grid")).not_to_have_attribute("aria-busy", "true")
    expect(shopper.cards.first).to_be_visible()
    assert {number % 2 for number in shopper.numbers} == {1}


@pytest.mark.system
def test_a_picture_and_a_value_with_a_line_end(open_shopper: OpenShopper) -> None:
    """A form would change the ends of its lines."""
    shopper = open_shopper("/?is.lines=x%0Ay")
    expect(shopper.page.locator("#results-title")).to_have_text("30 products")
    shopper.show(7)
    shopper.see_first(7)
    assert {number % 2 for number in shopper.numbers} == {1}


def test_a_range_of_prices_and_of_days(shopper: Shopper) -> None:
    body = shopper.open_filter("Price")
    expect(body.locator(".ends")).to_have_text("There is 10 to 69.")
    body.get_by_label("Price from").fill("20")
    body.get_by_label("Price to").fill("12.5")
    shopper.page.keyboard.press("Enter")
    expect(shopper.page.locator("#results-title")).to_have_text("8 products")
    assert set(shopper.numbers) == set(range(3, 11))
    assert shopper.address == "?from.price=12.5&to.price=20"
    expect(shopper.page.locator("#chips")).to_contain_text("Price: 12.50 \u2013 20")
    shopper.open_filter("Added").get_by_label("Added from").fill("2026-06-01")
    shopper.page.keyboard.press("Enter")
    expect(shopper.page.locator("#results-title")).to_have_text("6 products")
    assert all(attributes(number)["added"].month >= 6 for number in shopper.numbers)


def test_what_no_product_has_gets_what_is_nearest(shopper: Shopper) -> None:
    shopper.page.goto("/?is.brand=Acmee")
    expect(shopper.message).to_contain_text("Nothing fits")
    shopper.message.get_by_role("button", name="Acme").click()
    expect(shopper.page.locator("#results-title")).to_have_text("20 products")
    shopper.page.goto("/?from.price=30.2&to.price=30.4")
    expect(shopper.message).to_contain_text("Price, nearest: 30")
    shopper.message.get_by_role("button", name="31", exact=True).click()
    expect(shopper.page.locator("#results-title")).to_have_text("1 product")
    assert shopper.numbers == [21]


@pytest.mark.system
def test_all_filters_are_in_a_drawer_on_a_phone(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p5", phone=True)
    page = shopper.page
    shopper.see_first(52)
    page.get_by_role("button", name="Filters").tap()
    drawer = page.locator("#drawer")
    expect(drawer).to_be_visible()
    choose(shopper, "Brand", "Zeta")
    expect(page.locator("#filter-count")).to_have_text("1")
    drawer.get_by_role("button", name="Show results").tap()
    expect(drawer).to_be_hidden()
    assert {number % 3 for number in shopper.numbers} == {1}
    page.get_by_role("button", name=re.compile("Filters")).tap()
    drawer.get_by_role("button", name="Clear all").tap()
    page.keyboard.press("Escape")
    expect(page.locator("#chips")).to_be_hidden()


@pytest.mark.system
def test_what_helps_nobody_to_choose_is_no_filter(shopper: Shopper) -> None:
    expect(shopper.page.locator("details.filter")).to_have_count(9)
    names = shopper.page.locator("details.filter summary").evaluate_all(
        "(all) => all.map((one) => one.firstChild.data)"
    )
    assert names[:3] == ["Category", "Brand", "Price"]
    assert not {"Link", "Currency", "Serial"} & set(names)


@pytest.mark.system
def test_what_a_filter_holds_stays_on_the_screen(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p4&is.brand=Acme&from.price=11")
    expect(shopper.page.locator("details.filter")).to_have_count(9)
    filters = [one for one in shopper.page.locator("details.filter").all() if one.is_visible()]
    for filter_ in filters:
        filter_.locator("summary").click()
        box = filter_.locator(".filter-body").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1280
        assert shopper.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_search_says_how_many_products_match_the_filters(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p4&is.brand=Acme", phone=True)
    matching = shopper.page.locator("#matching")
    expect(matching).to_have_text(f"{len(fitting(brand='Acme'))} products match the filter")
    expect(matching).to_be_visible()
    shopper.page.goto("/?text=product&is.brand=Acme&from.price=67")
    expect(matching).to_have_text("1 product matches the filters")
    shopper.page.goto("/?is.brand=Acme")  # a list has them in its title
    expect(shopper.page.locator("#results-title")).to_have_text("20 products")
    expect(matching).to_be_hidden()
