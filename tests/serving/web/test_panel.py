"""The panel of a product: all that is known of it, zoom, those before and after it, its link."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.serving.web.conftest import OpenShopper
from tests.serving.web.shoppers import Shopper

pytestmark = [pytest.mark.slow, pytest.mark.services]


def test_a_card_opens_the_panel_and_back_closes_it(shopper: Shopper) -> None:
    page, panel = shopper.page, shopper.panel
    page.goto("/?like=p5")
    shopper.see_first(52)
    shopper.cards.nth(2).locator("a").click()
    number = shopper.numbers[2]
    expect(panel.get_by_role("heading", level=2)).to_have_text(f"Product {number} <i>&amp;</i>")
    expect(panel.locator("#panel-facts .price")).to_have_text(f"€{10 + number}")
    expect(panel.locator("#panel-facts .figure")).to_be_visible()
    expect(panel.get_by_role("link", name="To the shop")).to_have_attribute("href", f"https://shop.example/{number}")
    expect(panel.get_by_role("link", name="To the shop")).to_have_attribute("rel", "noopener noreferrer")
    expect(panel.locator("dl")).to_contain_text(f"no-{number}-<b>")
    expect(panel.get_by_role("heading", name="More like this")).to_be_visible()
    assert shopper.address == f"?like=p5&product=p{number}"
    page.go_back()
    expect(panel).to_be_hidden()
    assert shopper.focused() == "card-link"
    page.go_forward()
    expect(panel).to_be_visible()
    page.reload()
    expect(panel.get_by_role("heading", level=2)).to_contain_text(f"Product {number} ")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert shopper.address == "?like=p5"


def test_arrow_keys_lead_to_those_before_and_after(shopper: Shopper) -> None:
    page, title = shopper.page, shopper.panel.get_by_role("heading", level=2)
    page.goto("/?like=p5")
    shopper.see_first(52)
    shopper.cards.first.locator("a").click()
    expect(page.locator("#panel-back")).to_be_disabled()
    page.keyboard.press("ArrowRight")
    expect(title).to_contain_text(f"Product {shopper.numbers[1]} ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(title).to_contain_text(f"Product {shopper.numbers[1]} ")
    page.go_back()  # they are one step
    expect(shopper.panel).to_be_hidden()
    assert shopper.address == "?like=p5"


@pytest.mark.system
def test_the_picture_is_zoomed(shopper: Shopper) -> None:
    shopper.page.goto("/?product=p5")
    frame = shopper.page.locator("#zoom-frame")
    expect(frame.locator("img")).to_have_attribute("alt", "Product 5 <i>&amp;</i>")
    width = frame.locator("img").evaluate("(image) => image.clientWidth")
    shopper.panel.get_by_role("button", name="Zoom").click()
    assert frame.locator("img").evaluate("(image) => image.clientWidth") > 2 * width
    frame.hover(position={"x": 10, "y": 10})
    left = frame.evaluate("(frame) => frame.scrollLeft")
    frame.hover(position={"x": 300, "y": 10})
    assert frame.evaluate("(frame) => frame.scrollLeft") > left + 100
    frame.click()
    assert frame.locator("img").evaluate("(image) => image.clientWidth") == width


@pytest.mark.system
def test_the_link_is_copied(open_shopper: OpenShopper, shop_url: str) -> None:
    shopper = open_shopper("/?like=p5&product=p7", permissions=["clipboard-read", "clipboard-write"])
    shopper.panel.get_by_role("button", name="Copy link").click()
    expect(shopper.panel).to_contain_text("Link copied")
    copied = shopper.page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{shop_url}/?like=p5&product=p7"
    shopper.page.goto(copied)
    expect(shopper.panel.get_by_role("heading", level=2)).to_contain_text("Product 7 ")


@pytest.mark.system
def test_from_the_panel_to_its_lookalikes(shopper: Shopper) -> None:
    shopper.page.goto("/?product=p5")
    shopper.panel.get_by_role("button", name="Find lookalikes").click()
    expect(shopper.panel).to_be_hidden()
    shopper.see_first(52)
    assert shopper.address == "?like=p5"


@pytest.mark.system
def test_a_swipe_turns_the_page_on_a_phone(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p5", phone=True)
    shopper.see_first(52)
    shopper.cards.first.locator("a").tap()
    frame = shopper.page.locator("#zoom-frame").bounding_box()
    assert frame
    session = shopper.page.context.new_cdp_session(shopper.page)
    for kind, x in (("touchStart", 300), ("touchMove", 200), ("touchMove", 100), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": frame["y"] + 100}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(shopper.panel.get_by_role("heading", level=2)).to_contain_text(f"Product {shopper.numbers[1]} ")


@pytest.mark.system
def test_a_product_that_is_gone(shopper: Shopper) -> None:
    shopper.expect_faults("404")
    shopper.page.goto("/?product=nothing")
    expect(shopper.panel.get_by_role("heading", level=2)).to_have_text("This product is gone")
    shopper.panel.get_by_role("button", name="Close").click()
    expect(shopper.panel).to_be_hidden()
    assert shopper.address == ""
