"""What a shopper does on the search page and sees there."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import ConsoleMessage, FilePayload, Locator, Page, Request, Response, expect

from tests.support.shop import picture

SHAPES = [(64, 48), (48, 64), (240, 40), (40, 240)]
"""Of the products' pictures, in turn."""

WATCH = """
window.forms = [];
const send = window.fetch;
window.fetch = (path, options = {}) => {
  const form = options.body instanceof FormData ? options.body : null;
  if (form && !form.has("facets_of")) window.forms.push(Object.fromEntries(form));
  return send(path, options);
};
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


NOT_OURS = "ERR_NETWORK_CHANGED"
"""What Chromium says when something else on this machine makes a network: then it begins each request again."""


class Shopper:
    """Somebody with a tab. What the page writes to its console is a fault, unless the test expects it."""

    def __init__(self, page: Page, path: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self.expected = NOT_OURS
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.add_init_script(WATCH)
        page.goto(path)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.text} {message.location.get('url', '')}")

    def expect_faults(self, pattern: str) -> None:
        """Let the browser complain about answers that the test makes fail."""
        self.expected = f"{NOT_OURS}|{pattern}"

    def check(self) -> None:
        found = [fault for fault in self.faults if not re.search(self.expected, fault)]
        assert not found, found

    @property
    def cards(self) -> Locator:
        return self.page.locator("#grid .card:not(.skeleton)")

    @property
    def titles(self) -> list[str]:
        return self.page.locator("#grid .card:not(.tile) .title").all_inner_texts()

    @property
    def numbers(self) -> list[int]:
        """The numbers of the products that are shown, in their order."""
        return [int(title.split()[1]) for title in self.titles]

    @property
    def message(self) -> Locator:
        return self.page.locator("#message")

    @property
    def panel(self) -> Locator:
        return self.page.locator("#panel")

    @property
    def address(self) -> str:
        found: str = self.page.evaluate("location.search")
        return found

    @property
    def shifts(self) -> float:
        found: float = self.page.evaluate("window.shifts")
        return found

    @property
    def crop(self) -> list[float]:
        """The part of the picture that was searched last, nothing where it was no part."""
        found: list[float] = self.page.evaluate("window.forms.at(-1)?.crop?.split(',').map(Number) ?? []")
        return found

    def show(self, seed: int, name: str = "shoe.png") -> None:
        """Choose the picture of a product."""
        file: FilePayload = {"name": name, "mimeType": "image/png", "buffer": picture(seed, SHAPES[seed % 4])}
        self.page.set_input_files("#file", file)

    def see_first(self, number: int) -> None:
        expect(self.cards.first.locator(".title")).to_have_text(f"Product {number} <i>&amp;</i>")

    def open_filter(self, name: str) -> Locator:
        """Open a filter, if it is not open; return what it holds."""
        filter_ = self.page.locator("details.filter", has=self.page.locator("summary", has_text=name))
        expect(filter_).to_have_count(1)
        if not filter_.locator("summary").is_visible():  # it has no room in the row
            self.page.locator("#open-filters").click()
        if filter_.get_attribute("open") is None:
            filter_.locator("summary").click()
        return filter_.locator(".filter-body")

    def scroll_to_end(self, cards: int) -> None:
        """Roll the wheel until all cards are there: more come whenever the end of those that are there is near."""
        for _ in range(200):
            if self.cards.count() >= cards:
                break
            self.page.mouse.wheel(0, 4000)
            self.page.wait_for_timeout(100)
        expect(self.cards).to_have_count(cards)

    def focused(self) -> str:
        found: str = self.page.evaluate("document.activeElement.id || document.activeElement.className")
        return found

    def drop(self, selector: str, types: dict[str, str]) -> None:
        """Drop something on an element, as a browser does at the end of a drag."""
        self.page.evaluate(
            """([selector, types]) => {
              const data = new DataTransfer();
              for (const [type, value] of Object.entries(types)) data.setData(type, value);
              const target = document.querySelector(selector);
              for (const name of ["dragenter", "dragover", "drop"])
                target.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
            }""",
            [selector, types],
        )


def is_search(message: Request | Response) -> bool:
    """Tell whether the page asks for results: not for counts of what its filters offer."""
    request = message.request if isinstance(message, Response) else message
    return request.url.endswith("/v1/search") and b"facets_of" not in (request.post_data_buffer or b"")


def refuse(code: str, status: int, **headers: str) -> dict[str, Any]:
    """Return what a route answers with if the server refuses."""
    problem = {"title": code, "detail": "It says more.", "code": code, "status": status, "request_id": "abc"}
    return {"status": status, "json": problem, "headers": {"content-type": "application/problem+json", **headers}}
