"""Take the pictures of docs/page.md: each state of the search page, on a desktop and a phone, in light and dark.

One of docs/operations.md is taken, too: what the console says of the products that are served.

    python -m tests.benchmarks.page_pictures .lookalike/samples/openmoji/products.csv [--into docs/images]

The table is the sample catalogue that `make demo` renders. Its products get prices, brands and dates here.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageEnhance
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize

from tests.support.browsers import launched
from tests.support.processes import server
from tests.support.servers import BIN, ROOT

BRANDS = ["Acme", "Brightside", "Fjord", "Hopla", "Kite & Co", "Lee, Inc.", "Maison Duval", "Nordlys", "Terra", "Zeta"]
TAGS = ["classic", "gift", "handmade", "kids", "limited", "new", "outdoor"]
LEFT_OUT = {"flags", "symbols", "component"}
ATTRIBUTION = "Pictures by OpenMoji, https://openmoji.org, CC BY-SA 4.0"
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
ARE_THERE = """() => !document.querySelector(".skeleton") && [...document.images].every((image) => {
  const { top, bottom, left, right } = image.getBoundingClientRect();
  const isSeen = bottom > top && right > left && bottom > 0 && top < innerHeight && right > 0 && left < innerWidth;
  return !isSeen || (image.complete && image.naturalWidth > 0);
})"""
"""Whether all pictures that are in sight have come."""
HEIGHT = 450
GAP = 8
PARROT, CAT, FOX, BREAD = "1F99C", "1F431", "1F98A", "1F950"


def write_shop(table: Path, target: Path) -> None:
    """Write the sample as a shop would have it."""
    chance = random.Random(7)
    with table.open(encoding="utf-8") as file, target.open("w", encoding="utf-8") as shop:
        for row in csv.DictReader(file):
            if row["category"] not in LEFT_OUT:
                image = {"image": str((table.parent / row["image"]).resolve())}
                shop.write(json.dumps({"id": row["id"], "title": row["title"], **image, **_sell(row, chance)}) + "\n")


def _sell(row: dict[str, str], chance: random.Random) -> dict[str, Any]:
    price = round(chance.lognormvariate(3.2, 0.7), 2)
    return {
        "category": row["category"].replace("-", " & ", 1).capitalize(),
        "brand": chance.choice(BRANDS),
        "price": price,
        "sale_price": round(0.75 * price, 2) if chance.random() < 0.15 else None,
        "currency": "EUR",
        "tags": chance.sample(TAGS, chance.randrange(4)),
        "in_stock": chance.random() < 0.9,
        "added": (date(2026, 1, 1) + timedelta(days=chance.randrange(330))).isoformat(),
        "link": f"https://shop.example/products/{row['id']}",
    }


def make_photo(table: Path) -> FilePayload:
    """Return the parrot as a photo of it may look: turned and darkened."""
    picture = Image.open(table.parent / "images" / f"{PARROT}.png").convert("RGBA")
    white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    turned = ImageEnhance.Brightness(white.rotate(12, fillcolor="white")).enhance(0.75)
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=80)
    return {"name": "parrot.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def _open_filter(page: Page) -> None:
    if page.locator("#open-filters").is_visible():
        page.locator("#open-filters").click()
    page.locator("#filters summary").nth(1).click()


def _crop(page: Page) -> None:
    if page.locator("#enlarge").is_visible():
        page.locator("#enlarge").click()


def _type(page: Page) -> None:
    page.locator("#find-text").press_sequentially("fa")
    page.locator(".suggestions li").first.wait_for()


def _look_closer(page: Page) -> None:
    page.locator("#health-attribute").select_option("category")
    page.locator("#health-do").click()
    page.locator("#health > *").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.locator("#health-section").evaluate("section => section.scrollIntoView()")


def list_states(photo: FilePayload) -> dict[str, tuple[str, Callable[[Page], None]]]:
    """Return the address of each state, and what else leads to it."""
    return {
        "page-start": ("/", lambda _: None),
        "page-results": ("/", lambda page: page.set_input_files("#file", photo)),
        "page-crop": (f"/?like={FOX}&crop=0.1,0.05,0.9,0.6", _crop),
        "page-examples": (f"/?like={FOX}&like={CAT}&unlike={BREAD}&from.price=15&is.in_stock=true", lambda _: None),
        "page-filters": (f"/?like={FOX}", _open_filter),
        "page-sorted": (f"/?like={FOX}&sort=attributes.price%3Aasc", lambda _: None),
        "page-product": (f"/?like={FOX}&product={CAT}", lambda _: None),
        "page-suggestions": ("/", _type),
        "page-words": ("/?text=red+aple", lambda _: None),
        "page-nothing": ("/?is.brand=Akme&from.price=20", lambda _: None),
        "console-served": ("/console", _look_closer),
    }


def shoot(
    browser: Browser, url: str, path: str, act: Callable[[Page], None], *, phone: bool, scheme: Literal["light", "dark"]
) -> Image.Image:
    """Return what somebody sees who comes for the first time."""
    size = PHONE if phone else DESKTOP
    context = browser.new_context(
        viewport=size, base_url=url, color_scheme=scheme, has_touch=phone, is_mobile=phone, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(path)
    page.wait_for_load_state("networkidle")
    act(page)
    page.wait_for_timeout(300)
    page.wait_for_function(ARE_THERE)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return taken


def put_side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Return pictures in one row, all of one height."""
    scaled = [
        one.resize((round(one.width * HEIGHT / one.height), HEIGHT), Image.Resampling.LANCZOS) for one in pictures
    ]
    row = Image.new("RGB", (sum(one.width + GAP for one in scaled) - GAP, HEIGHT), "#8a8a8a")
    left = 0
    for one in scaled:
        row.paste(one, (left, 0))
        left += one.width + GAP
    return row


def main() -> None:
    """Build a snapshot, serve it, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-page-") as name:
        folder = Path(name)
        write_shop(asked.table, folder / "shop.jsonl")
        reindex = [str(BIN / "lookalike"), "reindex", str(folder / "shop.jsonl"), "--attribution", ATTRIBUTION]
        subprocess.run(reindex, env={**os.environ, "LOOKALIKE_STORE": str(folder / "store")}, cwd=ROOT, check=True)
        with server(folder) as running, launched() as browser:
            running.wait(lambda state: state["ready"])
            for state, (path, act) in list_states(make_photo(asked.table)).items():
                pictures = [
                    shoot(browser, running.url, path, act, phone=phone, scheme=scheme)
                    for phone in (False, True)
                    for scheme in ("light", "dark")
                ]
                put_side_by_side(pictures).save(asked.into / f"{state}.webp", quality=80, method=6)
                if state == "page-results":
                    whole = pictures[0].resize((1080, 675), Image.Resampling.LANCZOS)
                    whole.save(asked.into / "page.webp", quality=84, method=6)


if __name__ == "__main__":
    main()
