"""The console, as an operator uses it: a key, where all is, a step back with its reason, and one that was refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from lookalike.data.catalogue.rejects import Reject, RejectLog, store_rejects
from lookalike.data.reports import write_contact_sheet, write_report
from lookalike.data.snapshots.publishing import store_snapshot
from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from tests.serving.conftest import make_settings
from tests.serving.web.conftest import find_violations
from tests.support.browsers import require_browser
from tests.support.listening import listening
from tests.support.reports import run_report
from tests.support.shop import Shop, picture

pytestmark = [pytest.mark.slow, pytest.mark.services]

KEY, TEXT = create_key("Ann", [AccessScope.ADMIN, AccessScope.SEARCH])
RUNS = ["20261123T030000Z-00000001", "20261124T030000Z-00000002", "20261125T030000Z-00000003"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop whose second snapshot is served, and whose third was refused; each run has its report."""
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    for count, run in enumerate(RUNS, 8):
        manifest = shop.build(count).model_copy(update={"run": run})
        if run == RUNS[-1]:
            manifest = manifest.model_copy(update={"refused": ("recall@10 is 0.7, <b>the limit</b> is 0.95",)})
        shop.store.delete(f"snapshots/{manifest.id}/manifest.json")
        store_snapshot(shop.store, manifest)
        state = "refused" if manifest.refused else "published"
        left = store_rejects(shop.store, run, [rejects(tmp_path / f"{run}.parquet")], tmp_path)
        sheet = write_contact_sheet(shop.store, run, picture(count))
        more: dict[str, Any] = {
            "rejects": left,
            "rejected": 4,
            "reject_reasons": {"damaged": 3, "missing": 1},
            "contact_sheet": sheet,
        }
        write_report(shop.store, run_report(run=run, snapshot=manifest.id, state=state, added=count, **more))
        if not manifest.refused:
            shop.point_at(manifest)
    return shop


def rejects(path: Path) -> RejectLog:
    log = RejectLog(path)
    log.extend(Reject(f"p{number}", f"{number}.png", "read", "damaged", "<b>cut</b> off") for number in range(3))
    log.extend([Reject("p3", "3.png", "read", "missing", "there is no file")])
    return log


@pytest.fixture
def page(browser: Browser, shop: Shop, tmp_path: Path) -> Iterator[Page]:
    """The console after the key was given; nothing may stand in the browser's own console at the end."""
    require_browser()
    keys = KeysDocument(keys=(KEY,)).model_dump_json()
    settings = make_settings(
        tmp_path, port=free_port(), console={"moves": True, "past_snapshots": 1}, access={"keys": keys}
    )
    with listening(settings) as server:
        page = browser.new_page(base_url=server.url)
        page.set_default_timeout(30_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto("/console")
        page.get_by_label("Key").fill("lk_wrong")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#key-why")).to_contain_text("key")
        page.get_by_label("Key").fill(TEXT)
        page.get_by_role("button", name="Open").click()
        page.locator("#board").wait_for()
        yield page
        page.close()
    assert not [fault for fault in faults if not re.search("status of (401|404|409)", fault)]  # what the tests provoke


def snapshots(shop: Shop) -> list[str]:
    return [entry.snapshot for entry in shop.channel.history()]


def row(page: Page, text: str) -> str:
    return page.get_by_role("row").filter(has_text=text).inner_text()


def test_where_all_is_and_a_step_back_and_forth(page: Page, shop: Shop) -> None:
    first, second = snapshots(shop)
    channel = page.get_by_role("group", name="Channels").get_by_role("button")
    expect(channel).to_contain_text(re.compile(f"current.*served here.*{second}.*a test", re.DOTALL))
    assert "+9" in row(page, second)
    expect(page.get_by_role("img", name=re.compile("^Products: 3 runs"))).to_be_visible()
    expect(page.locator("#snapshots")).to_contain_text("recall@10 is 0.7, <b>the limit</b> is 0.95")

    page.get_by_role("button", name="Roll back").click()
    dialog = page.get_by_role("dialog", name="Roll back current")
    expect(dialog.get_by_label("Hold the channel")).to_be_checked()
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog).to_be_visible()  # a reason is needed
    dialog.get_by_label("Why?").fill("hats look like shoes")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(channel).to_contain_text(re.compile(f"current.*held.*{first}.*hats look like shoes, Ann", re.DOTALL))
    entry = shop.channel.current()
    assert (entry.snapshot, entry.held, entry.moved_by) == (first, True, f"Ann (key {KEY.id})")
    expect(page.get_by_role("listitem").first).to_contain_text("back to entry 1, held, Ann")

    page.get_by_role("button", name="Let runs go on").click()
    page.get_by_label("Why?").fill("the feed is repaired")
    page.get_by_role("button", name="Let them go on").click()
    expect(channel).not_to_contain_text("held")
    assert not shop.channel.current().held
    page.reload()
    expect(channel).to_contain_text("the feed is repaired")


def test_what_was_refused_takes_a_tick_and_a_pin_keeps(page: Page, shop: Shop) -> None:
    refused = page.get_by_role("row").filter(has=page.get_by_text("refused", exact=True))
    refused.get_by_role("button", name="Promote").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why?").fill("we looked at it")
    dialog.get_by_role("button", name="Promote").click()
    expect(dialog.get_by_role("alert")).to_contain_text("was not published: recall@10 is 0.7")
    dialog.get_by_label("though it was refused").check()
    dialog.get_by_role("button", name="Promote").click()
    expect(dialog).to_be_hidden()
    expect(refused).to_contain_text("current")
    assert shop.channel.current().reason == "we looked at it"
    refused.get_by_role("button", name="Pin").click()
    expect(refused).to_contain_text("pinned")
    refused.get_by_role("button", name="Unpin").click()
    expect(refused).not_to_contain_text("pinned")


def test_what_the_last_run_left_out(page: Page) -> None:
    left = page.locator("#rejects")
    expect(left.get_by_role("row")).to_have_count(5)
    expect(left).to_contain_text("<b>cut</b> off")
    page.get_by_role("button", name="missing 1").click()
    expect(left.get_by_role("row")).to_have_count(2)
    expect(left).to_contain_text("there is no file")
    expect(page.get_by_alt_text("before and after the last run")).to_have_js_property("naturalWidth", 64)


def test_the_served_products_are_looked_at_on_demand(page: Page) -> None:
    section = page.get_by_role("region", name="Served products")
    expect(section.get_by_label("Kinds of products by")).to_have_value("category")
    expect(section.locator(".side")).to_have_count(0)
    section.get_by_role("button", name="Look closer").click()
    sides = section.locator("#health .side")
    expect(sides).to_have_count(4)
    expect(sides.nth(0)).to_contain_text("9 products, made ")
    expect(sides.nth(1)).to_contain_text("no two show the same")
    expect(sides.nth(3)).to_contain_text("Among products of another category: 0 of 9.")
    section.get_by_role("button", name="Look at 100 pictures").click()
    poor = section.locator("#pictures li")
    expect(poor).to_have_count(9)  # all of them are tiny
    expect(poor.first).to_contain_text(re.compile("Product .*tiny.*64.48", re.DOTALL))
    expect(poor.first.locator("img")).to_have_js_property("complete", True)


@pytest.mark.system
def test_no_violation(page: Page, axe: str) -> None:
    section = page.get_by_role("region", name="Served products")
    section.get_by_role("button", name="Look closer").click()
    expect(section.locator("#health .side")).to_have_count(4)
    section.get_by_role("button", name="Look at 100 pictures").click()
    expect(section.locator("#pictures li")).to_have_count(9)
    assert not find_violations(page, axe)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    assert not find_violations(page, axe)


def test_two_snapshots_side_by_side(page: Page, shop: Shop) -> None:
    first, second = snapshots(shop)
    page.get_by_label("Before", exact=True).select_option(first)
    expect(page.get_by_label("After", exact=True)).to_have_value(second)
    page.get_by_label("Like product").fill("a")
    page.get_by_role("button", name="Compare").click()
    sides = page.locator(".side")
    expect(sides).to_have_count(2)
    expect(sides.nth(0)).to_contain_text(re.compile(f"{first}.*8 products, fake", re.DOTALL))
    expect(sides.nth(1)).to_contain_text(re.compile(f"{second}.*9 products, fake", re.DOTALL))
    expect(sides.nth(0).get_by_role("listitem")).to_have_count(7)
    expect(sides.nth(1).locator(".new")).to_have_count(1)
    expect(sides.nth(1).locator("img").first).to_have_js_property("complete", True)
    page.locator("#compare-picture").set_input_files(
        {"name": "shoe.png", "mimeType": "image/png", "buffer": picture(3)}
    )
    page.get_by_role("button", name="Compare").click()
    expect(sides.nth(1).get_by_role("listitem")).to_have_count(9)
    page.get_by_label("Like product").fill("none such")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compare-trouble")).to_contain_text("There is no product 'none such'")
