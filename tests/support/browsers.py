"""Headless Chromium for tests and for pictures of the documents."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

CHROMIUM = shutil.which("chromium")


def require_browser(path: str | None = CHROMIUM) -> None:
    """Skip the test if there is no browser. In continuous integration (`CI=true`) fail it: nobody reads skips there."""
    if path is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("there is no Chromium: install Debian's package `chromium`")
    pytest.skip("there is no Chromium")


@contextmanager
def launched() -> Iterator[Browser]:
    """Yield a browser without a page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM or "/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(url: str, size: ViewportSize) -> Iterator[Page]:
    """Yield a page of a browser, whose addresses are relative to a server's."""
    with launched() as browser:
        yield browser.new_page(viewport=size, base_url=url)
