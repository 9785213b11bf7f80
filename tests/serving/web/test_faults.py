"""What goes wrong, in a shopper's words; and what the page does about it by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import FilePayload, Route, expect

from tests.serving.web.conftest import COUNT, OpenShopper
from tests.serving.web.shoppers import Shopper, refuse

pytestmark = [pytest.mark.slow, pytest.mark.services]


def test_the_page_waits_for_a_line_that_is_gone(shopper: Shopper) -> None:
    shopper.expect_faults("ERR_INTERNET_DISCONNECTED")
    shopper.page.goto("/?like=p5")
    shopper.see_first(52)
    shopper.page.context.set_offline(True)
    shopper.show(7)
    expect(shopper.message).to_contain_text("No connection")
    shopper.page.context.set_offline(False)
    shopper.see_first(7)
    expect(shopper.message).to_be_hidden()


@pytest.mark.system
def test_a_module_that_is_lost_on_the_way_is_fetched_again(shopper: Shopper) -> None:
    shopper.expect_faults("cards.js")
    lost = ["once", "twice"]
    shopper.page.route("**/cards.js", lambda route: route.abort() if lost and lost.pop() else route.continue_())
    shopper.page.goto("/?like=p5")
    shopper.see_first(52)
    assert not lost
    assert shopper.page.evaluate("sessionStorage.getItem('tries')") is None


@pytest.mark.system
def test_a_busy_server_is_asked_again(shopper: Shopper) -> None:
    shopper.expect_faults("429")
    answers = [refuse("overloaded", 429, **{"Retry-After": "1"})]
    shopper.page.route("**/v1/search", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_())
    shopper.show(7)
    expect(shopper.message).to_contain_text("Very busy right now")
    shopper.see_first(7)
    assert not answers


def test_a_further_page_that_fails_leaves_what_is_shown(shopper: Shopper) -> None:
    shopper.expect_faults("500")
    shopper.page.goto("/?like=p20")
    expect(shopper.cards).not_to_have_count(0)
    shown = shopper.cards.count()
    shopper.page.route("**/v1/search", lambda route: route.fulfill(**refuse("internal", 500)))
    shopper.page.mouse.wheel(0, 9000)
    expect(shopper.message).to_contain_text("That did not work")
    expect(shopper.message).to_contain_text("internal · abc")
    assert shopper.cards.count() == shown
    shopper.page.unroute("**/v1/search")
    shopper.message.get_by_role("button", name="Try again").click()
    expect(shopper.cards).not_to_have_count(shown)
    expect(shopper.message).to_be_hidden()


@pytest.mark.system
def test_a_newer_snapshot_between_two_pages_begins_again(shopper: Shopper) -> None:
    shopper.expect_faults("409")
    shopper.page.goto("/?like=p5")
    expect(shopper.cards).not_to_have_count(0)
    answers = [refuse("snapshot_not_held", 409)]

    def answer(route: Route) -> None:
        if answers and '"snapshot"' in (route.request.post_data or ""):
            route.fulfill(**answers.pop())
        else:
            route.continue_()

    shopper.page.route("**/v1/search", answer)
    shopper.scroll_to_end(COUNT - 3)
    assert not answers


def test_a_file_that_is_no_picture(shopper: Shopper) -> None:
    shopper.expect_faults("4(15|22)")
    file: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture at all" * 9}
    shopper.page.set_input_files("#file", file)
    expect(shopper.message).to_contain_text("This kind of file is not understood")
    expect(shopper.message.get_by_role("button", name="Try again")).to_have_count(0)


@pytest.mark.system
def test_a_filter_that_is_no_more(shopper: Shopper) -> None:
    shopper.expect_faults("422")
    shopper.page.goto("/?like=p5&is.colour=red")
    expect(shopper.message).to_contain_text("A filter does not fit these products")
    shopper.message.get_by_role("button", name="Clear all filters").click()
    shopper.see_first(52)


@pytest.mark.system
def test_a_product_of_an_old_link(shopper: Shopper) -> None:
    shopper.expect_faults("404")
    shopper.page.goto("/?like=nothing")
    expect(shopper.message).to_contain_text("This product is gone")


@pytest.mark.system
def test_nothing_like_it_is_said(shopper: Shopper) -> None:
    nothing = {"snapshot": "s", "took_ms": 1.0, "total": 60, "hits": []}
    shopper.page.route("**/v1/search", lambda route: route.fulfill(json=nothing))
    shopper.show(7)
    expect(shopper.page.get_by_role("alert")).to_contain_text("Nothing fits")


def test_a_catalogue_with_a_key(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/")
    shopper.expect_faults("401")

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer sesame":
            route.continue_()
        else:
            route.fulfill(**refuse("unauthorized", 401))

    shopper.page.route("**/v1/**", guard)
    shopper.page.goto("/?like=p5")
    expect(shopper.message).to_contain_text("These products take a key")
    shopper.page.locator("#key").fill("wrong")
    shopper.page.keyboard.press("Enter")
    expect(shopper.message).to_contain_text("That key does not open it")
    shopper.page.locator("#key").fill("sesame")
    shopper.page.keyboard.press("Enter")
    shopper.see_first(52)
    expect(shopper.page.locator("#grid img.there").first).to_be_visible()
    expect(shopper.page.locator("details.filter")).to_have_count(9)
    source = shopper.cards.first.locator("img").get_attribute("src") or ""
    assert source.startswith("blob:")
