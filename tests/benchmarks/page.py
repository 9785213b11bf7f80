"""Measure the search page: how long a photo of 12 megapixels takes, on a desktop and on a slow phone.

    python -m tests.benchmarks.page URL [--rounds 5]

URL is the address of a server. The slow phone has a processor that is four times slower, and the line that Lighthouse
calls slow 4G: 1.6 Mbit/s down, 0.75 up, 150 ms. The time is from choosing the photo to the first picture of a result.
"""

from __future__ import annotations

import argparse
import io
import time
from statistics import median

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, FilePayload, ViewportSize

from tests.support.browsers import launched

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
SLOWER = 4
LINE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
FIRST, FOUND = "#grid img.there", "#grid .card:not(.tile) img.there"
WATCH = """
const send = window.fetch;
window.fetch = (path, options = {}) => {
  if (options.body instanceof FormData) window.sent = options.body.get("image").size;
  return send(path, options);
};
addEventListener("change", () => { window.began = Date.now(); }, true);
"""


def make_photo(seed: int) -> FilePayload:
    """Return a photo of 4000 by 3000 pixels, about 2 MB, that no other seed gives: shapes, detail and grain."""
    random = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(random.integers(0, 255, (*cells, 3), dtype=np.uint8)).resize((4000, 3000)), np.float32
        )
        for cells in ((6, 8), (96, 128))
    ]
    grain = random.normal(0, 4, (3000, 4000, 1))
    pixels = (0.75 * layers[0] + 0.25 * layers[1] + grain).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def measure(browser: Browser, url: str, seed: int, *, phone: bool) -> tuple[float, float, int]:
    """Return the seconds of a first visit until a picture is seen, those of a photo, and the bytes sent for it."""
    context = browser.new_context(viewport=PHONE if phone else DESKTOP, has_touch=phone, is_mobile=phone, base_url=url)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    if phone:
        session.send("Network.emulateNetworkConditions", LINE)
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.add_init_script(WATCH)
    began = time.perf_counter()
    page.goto("/")
    page.wait_for_selector(FIRST)
    visited = time.perf_counter() - began
    page.wait_for_load_state("networkidle")
    page.set_input_files("#file", make_photo(seed))
    page.wait_for_selector(FOUND)
    took, sent = page.evaluate("[Date.now() - window.began, window.sent]")
    context.close()
    return visited, took / 1000, sent


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with launched() as browser:
        for name, phone in (("desktop", False), ("slow phone", True)):
            found = [measure(browser, asked.url, 100 + seed, phone=phone) for seed in range(asked.rounds)]
            visits, photos, sent = (median(column) for column in zip(*found, strict=True))
            print(f"{name}: first visit {visits:.2f} s, photo {photos:.2f} s, {sent / 1000:.0f} kB sent")  # noqa: T201


if __name__ == "__main__":
    main()
