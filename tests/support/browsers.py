"""Headless Chromium for tests and for pictures of the documents."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, ViewportSize, sync_playwright

CHROMIUM = shutil.which("chromium")


@contextmanager
def opened(url: str, size: ViewportSize) -> Iterator[Page]:
    """Yield a page of a browser, whose addresses are relative to a server's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM or "/usr/bin/chromium", args=["--no-sandbox"])
        try:
            yield browser.new_page(viewport=size, base_url=url)
        finally:
            browser.close()
