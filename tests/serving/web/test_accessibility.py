"""Accessibility: axe on every state, in light and dark, on a desktop and a phone; targets that fingers can hit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.serving.web.conftest import OpenShopper, find_violations
from tests.serving.web.shoppers import Shopper

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

TARGET = 44
"""CSS pixels: what a finger hits without care."""

SMALL = """
(least) => [...document.querySelectorAll("a, button, input, summary, label[for]")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
  .filter((one) => !one.matches(".unseen, input[type=checkbox]") && !one.closest(".skip, .bottom p"))
  .filter((one) => !document.querySelector("dialog[open]") || one.closest("dialog[open]"))
  .map((one) => [one, one.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.height < least - 0.5 || box.width < least - 0.5))
  .map(([one, box]) => `${one.className || one.id || one.tagName} ${Math.round(box.width)}x${Math.round(box.height)}`)
"""


def _start(shopper: Shopper) -> None:
    expect(shopper.cards).to_have_count(4)


def _examples(shopper: Shopper) -> None:
    expect(shopper.cards.first).to_be_visible()
    expect(shopper.page.locator(".example img")).to_have_count(2)


def _filter(shopper: Shopper) -> None:
    shopper.see_first(52)
    if shopper.page.locator("#open-filters").is_visible():
        shopper.page.locator("#open-filters").click()
    body = shopper.open_filter("Brand")
    expect(body.locator("label")).to_have_count(3)
    body.page.wait_for_timeout(100)


def _crop(shopper: Shopper) -> None:
    shopper.see_first(52)
    if shopper.page.locator("#enlarge").is_visible():
        shopper.page.locator("#enlarge").click()
    shopper.page.locator(".crop-corner.se").focus()


def _panel(shopper: Shopper) -> None:
    expect(shopper.panel.get_by_role("heading", name="More like this")).to_be_visible()


def _fault(shopper: Shopper) -> None:
    shopper.expect_faults("404")
    expect(shopper.message).to_be_visible()


def _suggestions(shopper: Shopper) -> None:
    shopper.page.locator("#find-text").press_sequentially("product 1")
    expect(shopper.page.locator(".suggestions li")).to_have_count(7)
    shopper.page.keyboard.press("ArrowDown")


def _empty(shopper: Shopper) -> None:
    expect(shopper.message.get_by_role("button", name="Acme")).to_be_visible()


STATES: dict[str, tuple[str, Callable[[Shopper], None]]] = {
    "start": ("/", _start),
    "results": ("/?like=p5&like=p8&unlike=p11&is.brand=Acme&is.brand=Zeta", _examples),
    "filter": ("/?like=p5", _filter),
    "crop": ("/?like=p5", _crop),
    "panel": ("/?like=p5&product=p8", _panel),
    "fault": ("/?like=nothing", _fault),
    "suggestions": ("/", _suggestions),
    "empty": ("/?is.brand=Acmee", _empty),
}


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_no_violation(open_shopper: OpenShopper, axe: str, state: str, scheme: str, phone: bool) -> None:
    path, prepare = STATES[state]
    shopper = open_shopper(path, phone=phone, color_scheme=scheme, reduced_motion="reduce")
    prepare(shopper)
    shopper.page.wait_for_load_state("networkidle")
    assert not find_violations(shopper.page, axe)
    small = shopper.page.evaluate(SMALL, TARGET)
    assert not small, small


def test_a_screen_reader_hears_title_price_and_closeness(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p5")
    shopper.see_first(52)
    link = shopper.cards.first.get_by_role("link")
    expect(link).to_have_accessible_name("Product 52 <i>&amp;</i> €62 Zeta Very close")
