"""Random walks: a shopper who does anything that the page lets one do, in any order.

    python -m tests.serving.web.walks URL [--walks 30] [--steps 50]

URL is the address of a server. What the page writes to its console is a fault, and so is a page that stays empty.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, ViewportSize

from tests.serving.web.shoppers import Shopper
from tests.support.browsers import launched

FOUND = "#grid .card:not(.skeleton), #message:not([hidden])"
WIDE = """
() => document.documentElement.scrollWidth <= innerWidth + 1 ? []
  : [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => `${one.tagName} ${one.id} ${one.className}`).slice(0, 9)
"""
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


class Walk:
    """One walk. It is the same for the same seed, as far as the server answers the same."""

    def __init__(self, shopper: Shopper, seed: int) -> None:
        self.shopper = shopper
        self.page: Page = shopper.page
        self.done: list[str] = []
        self._random = random.Random(seed)
        self._steps: list[Callable[[], None]] = [
            *(self._open_card, self._more, self._less, self._only, self._back, self._forward, self._reload),
            *(self._upload, self._crop, self._filter, self._range, self._chip, self._scroll, self._look_up),
            *(self._sort, self._tray, self._home, self._tile, self._escape, self._complete),
        ]

    def step(self) -> None:
        """Do something, and wait until the page shows what came of it."""
        if self.shopper.panel.is_visible():
            action = self._random.choice([self._turn, self._zoom, self._close, self._find, self._strip, self._back])
        else:
            action = self._random.choice(self._steps)
        self.done.append(action.__name__)
        action()
        self.page.wait_for_selector(FOUND, state="attached", timeout=15_000)
        wide = self.page.evaluate(WIDE)
        assert not wide, f"wider than the screen: {wide}"

    def _click(self, where: Locator) -> None:
        """Click one of several, if there is one to click."""
        there = [one for one in where.all()[:40] if one.is_visible() and one.is_enabled()]
        if there:
            self._random.choice(there).click(timeout=5_000, force=True, no_wait_after=True)

    def _open_card(self) -> None:
        self._click(self.page.locator("#grid .card:not(.tile) .card-link"))

    def _more(self) -> None:
        self._click(self.page.locator("#grid").get_by_role("button", name=re.compile("^More like")))

    def _less(self) -> None:
        self._click(self.page.locator("#grid").get_by_role("button", name=re.compile("^Less like")))

    def _only(self) -> None:
        self._click(self.page.locator("#grid").get_by_role("button", name=re.compile("^Lookalikes of")))

    def _tile(self) -> None:
        self._click(self.page.locator(".tile a, .tile button"))

    def _tray(self) -> None:
        self._click(self.page.locator(".example button"))

    def _chip(self) -> None:
        self._click(self.page.locator("#chips button, #message button"))

    def _home(self) -> None:
        self._click(self.page.locator("#home"))

    def _back(self) -> None:
        if self.page.evaluate("history.length") > 3:
            self.page.evaluate("history.back()")

    def _forward(self) -> None:
        self.page.evaluate("history.forward()")

    def _reload(self) -> None:
        self.page.reload()

    def _upload(self) -> None:
        self.shopper.show(self._random.randrange(1000))

    def _scroll(self) -> None:
        self.page.mouse.wheel(0, self._random.randrange(-3000, 6000))

    def _escape(self) -> None:
        self.page.keyboard.press("Escape")

    def _crop(self) -> None:
        if (corner := self.page.locator(".crop-corner").nth(self._random.randrange(4))).is_visible():
            corner.focus()
            for _ in range(4):
                self.page.keyboard.press(self._random.choice(["Shift+ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight"]))

    def _filter(self) -> None:
        if (every := self.page.locator("#open-filters")).is_visible() and self._random.random() < 0.5:
            every.click()
        self._click(self.page.locator("details.filter summary"))
        self._click(self.page.locator("details.filter[open] label.value"))
        if self.page.locator("#drawer").is_visible():
            self.page.locator("#show-results").click()

    def _range(self) -> None:
        boxes = self.page.locator("details.filter[open] input[type=number]")
        if boxes.count() and boxes.first.is_visible():
            boxes.nth(self._random.randrange(2)).fill(str(self._random.randrange(80)))
            self.page.keyboard.press("Enter")

    def _sort(self) -> None:
        if (menu := self.page.locator("#sort")).is_visible():
            menu.select_option(index=self._random.randrange(menu.locator("option").count()))

    def _look_up(self) -> None:
        self.page.locator("#find-text").fill(self._random.choice(["", "product", "p1", "zzz", "red", "a b"]))
        self.page.locator("#find-text").press("Enter")

    def _complete(self) -> None:
        self.page.locator("#find-text").fill("")
        self.page.locator("#find-text").press_sequentially(self._random.choice(["p", "pro", "re", "a", "1", "zz"]))
        if self._random.random() < 0.8:
            self.page.wait_for_timeout(self._random.choice([50, 200, 400]))
        if self._random.random() < 0.5:
            self._click(self.page.locator(".suggestions li"))
        else:
            self.page.keyboard.press(self._random.choice(["ArrowDown", "ArrowUp", "Escape", "Tab"]))
            self.page.keyboard.press(self._random.choice(["Enter", "Escape", "ArrowDown"]))

    def _turn(self) -> None:
        self.page.keyboard.press(self._random.choice(["ArrowLeft", "ArrowRight"]))

    def _zoom(self) -> None:
        self._click(self.page.locator("#zoom, #zoom-frame"))

    def _close(self) -> None:
        if self._random.random() < 0.5:
            self._escape()
        else:
            self._click(self.page.locator("#panel-close"))

    def _find(self) -> None:
        self._click(self.page.locator("#panel-actions button"))

    def _strip(self) -> None:
        self._click(self.page.locator("#panel-strips .card-link"))


def walk(browser: Any, url: str, seed: int, steps: int) -> str | None:
    """Walk once; return what went wrong, and after which steps."""
    phone = seed % 3 == 2
    size = PHONE if phone else DESKTOP
    context = browser.new_context(
        viewport=size, base_url=url, has_touch=phone, is_mobile=phone, reduced_motion="reduce"
    )
    try:
        shopper = Shopper(context.new_page(), "/")
        shopper.expect_faults("throttling|429")
        walked = Walk(shopper, seed)
        try:
            for _ in range(steps):
                walked.step()
            shopper.page.wait_for_load_state("networkidle")
            shopper.check()
        except Exception as error:  # noqa: BLE001 - what went wrong is the result
            return f"walk {seed} at {shopper.page.url} after {', '.join(walked.done[-6:])}: {error}"
    finally:
        context.close()
    return None


def main() -> None:
    """Walk, and say what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--walks", type=int, default=30)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    with launched() as browser:
        results = [
            walk(browser, asked.url, seed, asked.steps) for seed in range(asked.first, asked.first + asked.walks)
        ]
    wrong = [one for one in results if one]
    print("\n".join(wrong) or "nothing", f"\n{len(wrong)} of {asked.walks} walks of {asked.steps} steps went wrong")  # noqa: T201
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
