"""Words on the search page: alone, and beside a picture."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.serving.web.conftest import OpenShopper
from tests.serving.web.shoppers import Shopper

pytestmark = [pytest.mark.slow, pytest.mark.services]


def test_words_are_searched_and_what_was_understood_is_said(shopper: Shopper, page: Page) -> None:
    page.locator("#find-text").fill("prodct 7 xyzzy blue")
    page.keyboard.press("Enter")
    shopper.see_first(7)
    assert shopper.address == "?text=prodct+7+xyzzy+blue"
    expect(page.locator("#understood")).to_have_text(
        "Shown are products with “product” for “prodct”. No product has “xyzzy”."
    )
    expect(shopper.cards.first.locator(".why")).to_contain_text("has product, 7")
    count = page.locator("#filter-count")
    brands = shopper.open_filter("Brand").locator("label")
    brands.first.click()
    expect(count).to_have_text("1")
    expect(shopper.cards.first.locator(".why")).to_contain_text("product")
    page.go_back()
    page.go_back()
    expect(page.locator("#understood")).to_be_hidden()
    expect(page.locator("#find-text")).to_have_value("")


def test_a_hit_without_any_of_the_words_says_what_it_was_found_by(shopper: Shopper, page: Page) -> None:
    found_by = [{"words": 0, "colour": 0.4}, {"meaning": 0.5, "looks": 0.2, "colour": 1}, {"shows": 0.3}]
    hits = [
        {
            "id": f"p{number}",
            "title": f"Product {number}",
            "attributes": {},
            "image_url": f"/v1/products/p{number}/image",
        }
        | {"score": 0.1, "why": {"scores": scores, "words": []}}
        for number, scores in enumerate(found_by)
    ]
    reply = {"snapshot": "x", "took_ms": 1, "total": 3, "hits": hits, "understood": {"words": [], "unknown": []}}
    page.route("**/v1/search", lambda route: route.fulfill(json=reply))
    page.locator("#find-text").fill("red thing")
    page.keyboard.press("Enter")
    for card, said in enumerate(("by its colour", "by its title", "by its picture")):
        expect(shopper.cards.nth(card).locator(".why")).to_contain_text(said)


def test_words_beside_a_picture_are_asked_together(shopper: Shopper, page: Page) -> None:
    shopper.show(3)
    shopper.see_first(3)
    words = page.get_by_role("combobox", name="And called")
    words.fill("product 5")
    words.press("Enter")
    expect(shopper.cards.first.locator(".why")).to_contain_text("has product")
    expect(shopper.cards.filter(has_text="Product 5 <").locator(".why")).to_contain_text("has product, 5")
    sent = page.evaluate("window.forms.at(-1)")
    assert (sent["text"], sent["explain"]) == ("product 5", "true")
    shopper.cards.first.get_by_role("button", name="More like").click()
    expect(shopper.cards.first.locator(".why")).to_contain_text("has product")
    expect(page.locator("#tray-list li")).to_have_count(1)
    words.fill("")
    words.press("Enter")
    expect(shopper.cards.first.locator(".why")).to_have_count(0)
    assert "text=" not in shopper.address


def test_an_address_holds_words_and_a_product(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p3&text=product+41", phone=True)
    expect(shopper.cards.filter(has_text="Product 41 <").locator(".why")).to_contain_text("41")
    expect(shopper.page.get_by_role("combobox", name="And called")).to_have_value("product 41")
