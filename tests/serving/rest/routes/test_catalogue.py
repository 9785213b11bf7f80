"""What operators are told of the products that are served: each fault is put there, and found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lookalike.data.reports import write_report
from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.reports import run_report
from tests.support.shop import Shop, picture

COLOURS = {"shoes": (200, 40, 30), "hats": (20, 60, 200)}
EACH = 14


def draw(seed: int, colour: tuple[int, int, int], size: tuple[int, int] = (240, 240)) -> Image.Image:
    """Return a picture of noise around a colour: what has the same colour is alike."""
    random = np.random.default_rng(seed)
    pixels = np.clip(np.array(colour) + random.normal(0, 25, (size[1] // 8, size[0] // 8, 3)), 0, 255)
    return Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)


def write(file: Path, image: Image.Image) -> str:
    image.save(file, "PNG")
    return str(file)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Shoes are red and hats are blue, but for one shoe that is called a hat; pictures are poor in each way."""
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    images: dict[str, str] = {}
    for category, colour in COLOURS.items():
        for number in range(EACH):
            images[f"{category}{number}"] = write(folder / f"{category}{number}.png", draw(number, colour))
    images["shoes1"] = images["shoes0"]
    write(folder / "shoes2.png", draw(2, COLOURS["shoes"], (64, 48)))
    write(folder / "hats3.png", draw(3, COLOURS["hats"]).filter(ImageFilter.GaussianBlur(6)))
    rows: list[dict[str, Any]] = [
        {
            "id": name,
            "title": f"The {name}",
            "image": image,
            "attributes": {"category": "hats" if name == "shoes7" else name.rstrip("0123456789"), "price": 1.5},
        }
        for name, image in images.items()
    ]
    shop.point_at(shop.build_rows(rows, near=[[images["hats4"], images["hats5"], images["hats6"]]]))
    (folder / "hats8.png").unlink()
    write_report(shop.store, run_report(1, state="unchanged"))
    with running(create_app(Runtime(make_settings(folder)))) as made:
        made.wait(lambda state: state["ready"])
        yield made


def get(client: Client, path: str = "") -> Any:
    reply = client.get(f"/v1/admin/catalogue{path}")
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_duplicates_are_counted_and_the_largest_shown(client: Client) -> None:
    found = get(client)["duplicates"]
    assert (found["groups"], found["products"]) == (2, 5)
    shown = [
        (group["size"], group["same_file"], {one["id"] for one in group["products"]}) for group in found["largest"]
    ]
    assert shown == [(3, False, {"hats4", "hats5", "hats6"}), (2, True, {"shoes0", "shoes1"})]
    assert client.get(found["largest"][0]["products"][0]["image_url"]).status_code == 200


def test_a_product_among_others_of_another_category_is_a_stray(client: Client) -> None:
    assert get(client)["strays"] is None
    found = get(client, "?attribute=category")["strays"]
    assert (found["attribute"], found["examined"], found["count"]) == ("category", 2 * EACH, 1)
    (stray,) = found["products"]
    assert (stray["id"], stray["value"], stray["others"]) == ("shoes7", "hats", "shoes")
    assert stray["count"] >= 8
    assert stray["score"] > found["chance"]


@pytest.mark.parametrize(("attribute", "code"), [("colour", "unknown_attribute"), ("price", "bad_field")])
def test_strays_need_an_attribute_that_names_kinds(client: Client, attribute: str, code: str) -> None:
    assert client.get(f"/v1/admin/catalogue?attribute={attribute}").json()["code"] == code


def test_how_old_it_is(client: Client) -> None:
    found = get(client)
    assert (found["products"], found["last_run"]["state"]) == (2 * EACH, "unchanged")
    assert found["created_at"] == client.loaded.manifest.created_at.isoformat().replace("+00:00", "Z")


def test_pictures_that_serve_badly(client: Client) -> None:
    found = get(client, "/pictures")
    assert found["examined"] == 2 * EACH
    faults = [(one["fault"], one["id"], one["width"], one["height"]) for one in found["pictures"]]
    assert faults == [("missing", "hats8", 0, 0), ("tiny", "shoes2", 64, 48), ("blurred", "hats3", 240, 240)]
    assert [one["detail"] for one in found["pictures"]] == ["missing", "", ""]
    assert get(client, "/pictures?limit=5")["examined"] == 5
    assert client.get("/v1/admin/catalogue/pictures?limit=501").json()["code"] == "bad_limit"


def test_best_scores_are_counted_and_no_query_is_kept(client: Client) -> None:
    before = {one["most"]: one["count"] for one in get(client)["best_scores"]}
    files = {"image": ("a.png", picture(77))}
    best = client.post("/v1/search", files=files).json()["hits"][0]["score"]
    client.post("/v1/search", files=files, data={"filter": "category=none"})  # no hit at all
    for data in ({"offset": "2"}, {"min_score": "0.5"}):
        client.post("/v1/search", files=files, data=data)
    client.search(product_id="shoes3")
    found = {one["most"]: one["count"] for one in get(client)["best_scores"]}
    more = {most: count - before.get(most, 0) for most, count in found.items() if count != before.get(most, 0)}
    assert more == {0.0: 1, min(most for most in found if best <= most): 1}
