"""Suggestions below the boxes for words: by mouse, keyboard and finger, and for those who listen."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.serving.web.conftest import OpenShopper
from tests.serving.web.shoppers import Shopper, refuse

pytestmark = [pytest.mark.slow, pytest.mark.services]

PAUSE = 150  # milliseconds, in which the page asks after the last letter
SUGGEST = re.compile(r"/v1/suggest\?")


def box(page: Page, name: str = "Words or number") -> Locator:
    return page.get_by_role("combobox", name=name)


def options(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Suggestions").get_by_role("option")


def active(page: Page) -> str | None:
    """Return the text of the suggestion that the keyboard is on."""
    found: str | None = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.innerText ?? null"
    )
    return found


def typed(page: Page, text: str) -> list[str]:
    """Type a text, and return what is suggested."""
    box(page).press_sequentially(text)
    expect(options(page).first).to_be_visible()
    return options(page).all_inner_texts()


def stop_clock(page: Page) -> None:
    """Let the page's time go on only by `page.clock.run_for`: no letter comes late then, on a machine that is slow."""
    page.clock.install()
    page.clock.pause_at(datetime.now() + timedelta(hours=1))


def answer(page: Page, *texts: str) -> None:
    """Let the server suggest these texts, whatever is typed."""
    suggestions = [{"text": text, "word": text, "products": 1} for text in texts]
    page.route(SUGGEST, lambda route: route.fulfill(json={"snapshot": "x", "suggestions": suggestions}))


def test_a_suggestion_is_chosen_by_mouse(shopper: Shopper, page: Page) -> None:
    expect(shopper.cards).to_have_count(4)
    shifts = shopper.shifts
    assert [one.split("\n") for one in typed(page, "prod")] == [["product", "60 products"]]
    expect(box(page)).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#announcer")).to_have_text("1 suggestion")
    assert shopper.shifts == shifts
    options(page).first.click()
    expect(options(page)).to_have_count(0)
    expect(box(page)).to_have_value("product")
    expect(shopper.cards.first.locator(".why")).to_contain_text("product")
    assert shopper.address == "?text=product"


def test_the_keyboard_goes_through_suggestions_and_back_to_the_box(shopper: Shopper, page: Page) -> None:
    found = typed(page, "z")
    assert found == ["zeta\n20 products"]
    box(page).press("Backspace")
    expect(options(page)).to_have_count(0)
    found = typed(page, "product 1")  # which is not suggested itself: it stands in the box
    assert len(found) == 7
    for key, expected in (
        ("ArrowUp", found[-1]),
        ("ArrowDown", None),
        ("ArrowDown", found[0]),
        ("ArrowDown", found[1]),
    ):
        page.keyboard.press(key)
        assert (active(page), shopper.focused()) == (expected, "find-text")
    expect(options(page).nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(options(page)).to_have_count(0)
    expect(box(page)).to_have_value("product 1")
    page.keyboard.press("ArrowDown")
    expect(options(page)).to_have_count(7)
    page.keyboard.press("ArrowDown")
    chosen = found[0].split("\n")[0]
    page.keyboard.press("Enter")
    expect(box(page)).to_have_value(chosen)
    expect(shopper.cards.first).to_be_visible()
    assert shopper.address == f"?text={chosen.replace(' ', '+')}"
    page.go_back()
    expect(box(page)).to_have_value("")


def test_enter_searches_what_was_typed(shopper: Shopper, page: Page) -> None:
    typed(page, "prod")
    page.keyboard.press("Enter")
    expect(options(page)).to_have_count(0)
    expect(shopper.cards.first.locator(".why")).to_contain_text("product")
    assert shopper.address == "?text=prod"
    page.wait_for_timeout(300)  # nothing comes late
    expect(options(page)).to_have_count(0)


@pytest.mark.system
def test_a_finger_chooses_and_the_keyboard_goes_away(open_shopper: OpenShopper) -> None:
    shopper = open_shopper(phone=True)
    page = shopper.page
    typed(page, "zet")
    first = options(page).first
    box_of = first.bounding_box()
    assert box_of is not None
    assert box_of["height"] >= 44
    assert box_of["width"] > 300
    first.tap()
    expect(box(page)).to_have_value("zeta")
    expect(shopper.cards.first.locator(".why")).to_contain_text("zeta")
    assert shopper.focused() != "find-text"


@pytest.mark.system
def test_what_is_chosen_of_filters_counts(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?is.brand=Acme&to.price=30")
    expect(shopper.cards.first).to_be_visible()
    assert typed(shopper.page, "prod") == ["product\n7 products"]


IS_SEEN = """
(one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  return one.contains(document.elementFromPoint(x + width / 2, y + height / 2));
}
"""


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_all_suggestions_beside_a_picture_are_in_sight(open_shopper: OpenShopper, phone: bool) -> None:
    shopper = open_shopper("/?like=p3", phone=phone)
    expect(shopper.cards.first).to_be_visible()
    box(shopper.page, "And called").press_sequentially("product 1")
    expect(options(shopper.page)).to_have_count(7)
    assert all(one.evaluate(IS_SEEN) for one in options(shopper.page).all())


@pytest.mark.system
def test_words_beside_a_picture_are_suggested_too(shopper: Shopper, page: Page) -> None:
    shopper.show(3)
    shopper.see_first(3)
    words = box(page, "And called")
    words.press_sequentially("zet")
    options(page).first.click()
    expect(words).to_have_value("zeta")
    expect(shopper.cards.locator(".why", has_text="zeta").first).to_be_visible()
    assert "text=zeta" in shopper.address


@pytest.mark.system
def test_a_pause_in_typing_asks_once_and_late_answers_are_not_shown(shopper: Shopper, page: Page) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if SUGGEST.search(request.url) else None)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if len(held) < 2:
            held.append(route)
        else:
            route.continue_()

    page.route(SUGGEST, hold)
    stop_clock(page)
    box(page).press_sequentially("zet")
    assert not asked
    with page.expect_request(SUGGEST):
        page.clock.run_for(PAUSE)
    box(page).press_sequentially("a")
    with page.expect_request(SUGGEST):
        page.clock.run_for(PAUSE)
    box(page).press("Backspace")
    held[1].fulfill(json={"snapshot": "x", "suggestions": []})
    page.wait_for_timeout(300)  # for an answer to nothing that the box holds, which must not end the pause
    page.clock.run_for(PAUSE)
    expect(options(page)).to_have_text(["zeta 20 products"])
    assert len(asked) == 3
    assert [one.failure for one in asked] == ["net::ERR_ABORTED", "net::ERR_ABORTED", None]


@pytest.mark.system
@pytest.mark.parametrize(
    ("refusal", "quiet_s"),
    [
        (refuse("no_text_channel", 422), None),
        (refuse("rate_limited", 429, **{"Retry-After": "60"}), 60),
        (refuse("overloaded", 503, **{"Retry-After": "1"}), 1),
    ],
    ids=["no words", "no rate", "busy"],
)
def test_a_server_that_refuses_is_left_alone(
    shopper: Shopper, page: Page, refusal: dict[str, Any], quiet_s: int | None
) -> None:
    shopper.expect_faults("422|429|503")
    asked: list[str] = []

    def refuse_once(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(**refusal)
        else:
            route.continue_()

    def type_again() -> None:
        box(page).press_sequentially("a")
        box(page).press("Backspace")
        page.clock.run_for(PAUSE)

    page.route(SUGGEST, refuse_once)
    stop_clock(page)
    with page.expect_response(SUGGEST) as refused:
        box(page).press_sequentially("zet")
        page.clock.run_for(PAUSE)
    refused.value.finished()
    page.wait_for_timeout(300)  # until the page has read it
    type_again()
    page.wait_for_timeout(300)  # nothing comes late
    page.clock.fast_forward(1000 * (quiet_s or 3600))
    if quiet_s is None:
        type_again()
        page.wait_for_timeout(300)
    else:
        assert len(asked) == 1
        with page.expect_response(SUGGEST):
            type_again()
    assert len(asked) == (1 if quiet_s is None else 2)
    expect(options(page)).to_have_count(0 if quiet_s is None else 1)
    page.clock.resume()
    box(page).press("Enter")
    expect(shopper.cards.first.locator(".why")).to_contain_text("zeta")


@pytest.mark.system
def test_words_of_a_catalogue_are_only_text(shopper: Shopper, page: Page) -> None:
    evil = '<img src=x onerror="document.title=1"> &amp; \u202e' + "x" * 200
    answer(page, evil, "b")
    typed(page, "<img")
    expect(options(page).first).to_contain_text(evil)
    assert page.locator("#find-text-list img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.system
def test_addresses_and_punctuation_are_not_completed(shopper: Shopper, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if SUGGEST.search(request.url) else None)
    for text in ("https://shop.example/shoe.jpg", "?!", "x" * 600):
        box(page).fill(text)
        page.wait_for_timeout(300)
    assert not asked
    box(page).fill("zet")
    expect(options(page)).to_have_count(1)
    page.locator("h1").click()
    expect(options(page)).to_have_count(0)
