"""What one searches by: pictures, parts of them, products, more and less like these, addresses."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Request, Route, expect

from tests.serving.web.conftest import OpenShopper
from tests.serving.web.shoppers import Shopper, is_search
from tests.support.client import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture
def asked(shopper: Shopper) -> list[Request]:
    """The searches that the page asks for."""
    found: list[Request] = []
    shopper.page.on("request", lambda request: found.append(request) if is_search(request) else None)
    return found


def read_json(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.post_data or "{}")
    return found


def searches_with(field: str) -> Callable[[Request], bool]:
    """Tell a search with a field from one for the next page of what was shown before."""
    return lambda request: is_search(request) and field in (request.post_data or "")


def corner(shopper: Shopper, name: str) -> Locator:
    return shopper.page.get_by_role("button", name=f"Corner {name}.")


def test_a_picture_is_searched_and_stays_in_the_tab(shopper: Shopper) -> None:
    shopper.show(7)
    shopper.see_first(7)
    expect(shopper.cards.first.locator(".closeness")).to_contain_text("The same")
    expect(shopper.page.locator("#query-name")).to_have_text("Your picture")
    shopper.page.go_back()
    expect(shopper.page.get_by_role("heading", level=1)).to_be_visible()
    shopper.page.go_forward()
    shopper.see_first(7)
    shopper.page.reload()
    shopper.see_first(7)
    width = shopper.page.locator("#picture").evaluate("(image) => image.decode().then(() => image.naturalWidth)")
    assert width == 40


@pytest.mark.system
def test_a_picture_that_is_chosen_before_the_page_is_ready(shopper: Shopper) -> None:
    held: list[Route] = []
    shopper.page.route("**/incoming.js", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    shopper.page.goto("/", wait_until="commit")
    shopper.show(7)
    while not held:
        shopper.page.wait_for_timeout(50)
    held[0].continue_()
    shopper.see_first(7)


@pytest.mark.system
def test_a_picture_is_not_in_the_link_to_it(open_shopper: OpenShopper, shopper: Shopper) -> None:
    shopper.show(7)
    shopper.see_first(7)
    other = open_shopper(f"/{shopper.address}")
    expect(other.message).to_contain_text("Your picture is not here")
    other.message.get_by_role("button", name="Start over").click()
    expect(other.page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.system
def test_a_large_photo_is_sent_small_and_upright(shopper: Shopper) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (75, 100, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((4000, 3000), Image.Resampling.BILINEAR)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=80, exif=exif)
    file = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    shopper.page.set_input_files("#file", file)  # type: ignore[arg-type]
    expect(shopper.cards).not_to_have_count(0)
    sent = shopper.page.evaluate(
        """async () => {
          const { image } = window.forms[0];
          const { width, height } = await createImageBitmap(image);
          return { width, height, bytes: image.size };
        }"""
    )
    assert (sent["width"], sent["height"]) == (600, 800)
    assert sent["bytes"] < 120_000 < len(buffer.getvalue())


@pytest.mark.system
def test_what_takes_long_to_shrink_gives_way_to_the_next(shopper: Shopper) -> None:
    shopper.page.evaluate(
        """() => {
          const decode = window.createImageBitmap;
          const slow = new Promise((done) => { window.goOn = done; });
          window.createImageBitmap = async (file) => { if (file.name === "slow.png") await slow; return decode(file); };
        }"""
    )
    shopper.show(3, "slow.png")
    shopper.show(7)
    shopper.see_first(7)
    shopper.page.evaluate("goOn()")
    shopper.page.wait_for_timeout(300)
    shopper.see_first(7)


def test_a_crop_is_drawn_moved_and_pulled_by_mouse(shopper: Shopper) -> None:
    shopper.show(7)
    shopper.see_first(7)
    page, stage = shopper.page, shopper.page.locator("#stage").bounding_box()
    assert stage

    def drag(start: tuple[float, float], end: tuple[float, float]) -> list[float]:
        (x0, y0), (x1, y1) = [
            (stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]) for x, y in (start, end)
        ]
        page.mouse.move(x0, y0)
        page.mouse.down()
        page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
        page.mouse.move(x1, y1)
        with page.expect_response(is_search):
            page.mouse.up()
        return shopper.crop

    assert drag((0.3, 0.3), (0.7, 0.8)) == pytest.approx([0.3, 0.3, 0.7, 0.8], abs=0.02)
    assert drag((0.5, 0.5), (0.6, 0.6)) == pytest.approx([0.4, 0.4, 0.8, 0.9], abs=0.02)
    assert drag((0.8, 0.9), (0.95, 0.7)) == pytest.approx([0.4, 0.4, 0.95, 0.7], abs=0.03)
    assert "crop=0." in shopper.address
    page.reload()
    box = page.locator(".crop-box").evaluate("(box) => parseFloat(box.style.left)")
    assert box == pytest.approx(40, abs=2)
    page.get_by_role("button", name="Whole picture").click()
    expect(page.get_by_role("button", name="Whole picture")).to_be_hidden()
    assert "crop" not in shopper.address


def test_a_crop_is_made_by_keyboard_and_each_change_searches(shopper: Shopper) -> None:
    shopper.page.goto("/?like=p5")
    shopper.see_first(52)
    corner(shopper, "bottom right").focus()
    for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "ArrowUp"):
        shopper.page.keyboard.press(key)
    wait_for(lambda: shopper.crop, lambda crop: crop == pytest.approx([0, 0, 0.8, 0.98]))
    shopper.page.get_by_role("button", name="The part that counts").focus()
    shopper.page.keyboard.press("ArrowRight")
    wait_for(lambda: shopper.crop, lambda crop: crop == pytest.approx([0.02, 0, 0.82, 0.98]))
    shopper.page.go_back()
    shopper.page.go_back()
    assert "crop" not in shopper.address


@pytest.mark.system
def test_a_crop_is_made_by_touch_in_a_large_picture(open_shopper: OpenShopper) -> None:
    shopper = open_shopper("/?like=p5", phone=True)
    page = shopper.page
    shopper.see_first(52)
    expect(corner(shopper, "top left")).to_be_hidden()
    page.get_by_role("button", name="Crop").tap()
    stage = page.locator("#stage").bounding_box()
    assert stage
    assert stage["width"] > 250
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        where = [{"x": stage["x"] + x * stage["width"], "y": stage["y"] + y * stage["height"]} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    touch("touchStart", (0.2, 0.2))
    touch("touchMove", (0.5, 0.5))
    touch("touchMove", (0.8, 0.7))
    with page.expect_response(is_search):
        touch("touchEnd")
    assert re.search(r"crop=0\.2\d*%2C0\.\d+%2C0\.[78]", shopper.address)
    page.get_by_role("button", name="Done").tap()
    expect(shopper.cards.first).to_be_in_viewport()


def test_more_and_less_like_products_go_into_the_tray(shopper: Shopper) -> None:
    page = shopper.page
    page.goto("/?like=p5")
    shopper.see_first(52)
    liked, unliked = shopper.numbers[1], shopper.numbers[3]
    shopper.cards.nth(1).hover()
    shopper.cards.nth(1).get_by_role("button", name="More like").click()
    expect(page.locator(".example.like")).to_have_count(1)
    card = shopper.cards.filter(has_text=f"Product {unliked} ")
    card.hover()
    with page.expect_request(searches_with("negative")) as asked:
        card.get_by_role("button", name="Less like").click()
    expect(page.locator(".example.unlike")).to_have_count(1)
    body = read_json(asked.value)
    assert body["positive"] == [{"product_id": "p5"}, {"product_id": f"p{liked}"}]
    assert body["negative"] == [{"product_id": f"p{unliked}"}]
    assert not {5, liked, unliked} & set(shopper.numbers)
    page.reload()
    expect(page.locator(".example")).to_have_count(2)
    page.get_by_role("button", name=f"Remove: less like Product {unliked}").click()
    expect(page.locator(".example")).to_have_count(1)
    page.go_back()
    expect(page.locator(".example")).to_have_count(2)


@pytest.mark.system
def test_a_picture_and_a_product_are_searched_together(shopper: Shopper) -> None:
    shopper.show(7)
    shopper.see_first(7)
    with shopper.page.expect_request(searches_with("positive")) as asked:
        shopper.drop("#query", {"application/x-lookalike-product": "p8"})
    expect(shopper.page.locator(".example.like")).to_have_count(1)
    positive = read_json(asked.value)["positive"]
    assert positive[0]["image"].startswith("data:image/png;base64,")
    assert positive[1] == {"product_id": "p8"}


@pytest.mark.system
def test_a_card_is_dragged_out_of_the_results(shopper: Shopper) -> None:
    shopper.page.goto("/?like=p5")
    shopper.see_first(52)
    number = shopper.numbers[2]
    shopper.cards.nth(2).drag_to(shopper.page.locator("header"))
    expect(shopper.page.locator("#query-name")).to_contain_text(f"Product {number} ")
    assert shopper.address == f"?like=p{number}"
    expect(shopper.page.locator(".veil")).to_be_hidden()


def test_a_picture_is_dropped_or_pasted(shopper: Shopper) -> None:
    for kind in ("drop", "paste"):
        shopper.page.goto("/")
        shopper.page.evaluate(
            """async (kind) => {
              const picture = await (await fetch("v1/products/p7/image")).blob();
              const data = new DataTransfer();
              data.items.add(new File([picture], "a.png", { type: "image/png" }));
              const how = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
              const event = kind === "drop" ? new DragEvent("drop", how) : new ClipboardEvent("paste", how);
              document.body.dispatchEvent(event);
            }""",
            kind,
        )
        shopper.see_first(7)


@pytest.mark.system
def test_the_address_of_a_product_is_the_product(shopper: Shopper, shop_url: str) -> None:
    shopper.drop("main", {"text/uri-list": f"# a comment\r\n{shop_url}/v1/products/p7/image?size=256"})
    expect(shopper.page.locator("#query-name")).to_contain_text("Product 7 ")


@pytest.mark.system
def test_an_address_elsewhere_is_asked_for_or_said_to_be_closed(shopper: Shopper, asked: list[Request]) -> None:
    shopper.expect_faults("403")
    shopper.page.locator("#find-text").fill("https://elsewhere.example/a.jpg")
    shopper.page.keyboard.press("Enter")
    expect(shopper.message).to_contain_text("That page does not hand out its picture")
    assert read_json(asked[0])["url"] == "https://elsewhere.example/a.jpg"
    expect(shopper.page.locator("#query-name")).to_have_text("A picture of elsewhere.example")


@pytest.mark.system
def test_a_product_that_answers_late_gives_way_to_the_one_chosen(shopper: Shopper) -> None:
    page = shopper.page
    waiting: list[Any] = []
    page.route("**/v1/products/p5", lambda route, _: waiting.append(route))
    page.goto("/?like=p5")
    shopper.see_first(52)
    shopper.cards.nth(3).hover()
    chosen = shopper.numbers[3]
    shopper.cards.nth(3).get_by_role("button", name="Lookalikes of").click()
    expect(page.locator("#query-name")).to_contain_text(f"Product {chosen} ")
    for route in waiting:
        route.continue_()
    page.wait_for_timeout(300)
    expect(page.locator("#query-name")).to_contain_text(f"Product {chosen} ")
