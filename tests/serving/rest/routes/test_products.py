from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.serving.replies import product_path, to_json_value
from lookalike.serving.rest.app import create_app
from lookalike.serving.rest.responses import content_type
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import Serve, make_settings
from tests.support.client import Client, running
from tests.support.shop import ODD_ID, Shop, picture, product_ids, write_pictures

IDS = product_ids(24)


@pytest.mark.parametrize("product", IDS[:8])
def test_every_id_has_its_addresses(client: Client, product: str) -> None:
    address = "/v1/products/" + quote(product, safe="")
    assert client.get(address).json()["id"] == product
    assert client.get(f"{address}/image").content == picture(IDS.index(product))
    hits = client.get(f"{address}/similar").json()["hits"]
    assert product not in [hit["id"] for hit in hits]


@pytest.mark.parametrize("product", IDS[:8])
def test_our_own_addresses_lead_back(client: Client, product: str) -> None:
    assert client.get(product_path(product)).json()["id"] == product
    found = client.get(product_path(product)).json()
    assert client.get(found["image_url"]).content == picture(IDS.index(product))


def test_plain_slashes_are_understood(client: Client) -> None:
    assert client.get("/v1/products/shoes/006.png").json()["id"] == "shoes/006.png"
    assert client.get("/v1/products/a/image").headers["content-type"] == "image/png"
    # a proxy that undoes %2F: there is no product "b", so this can only be the product "b/similar"
    assert client.get("/v1/products/b/similar").json()["id"] == "b/similar"


def test_a_product_says_its_snapshot(served: tuple[Shop, Client]) -> None:
    shop, client = served
    product = client.get(product_path(ODD_ID)).json()
    assert product["snapshot"] == shop.channel.current().snapshot
    assert set(product) == {"id", "title", "attributes", "image_url", "snapshot"}


def test_what_json_cannot_say_is_null(client: Client) -> None:
    assert client.get(product_path(IDS[7])).json()["attributes"]["price"] is None


def test_listing(client: Client) -> None:
    whole = client.get("/v1/products", params={"limit": 100}).json()
    assert whole["total"] == 24
    assert {product["id"] for product in whole["products"]} == set(IDS)
    part = client.get("/v1/products", params={"limit": 5, "offset": 20}).json()
    assert part["products"] == whole["products"][20:25]
    assert client.get("/v1/products", params={"offset": 500}).json()["products"] == []
    assert len(client.get("/v1/products").json()["products"]) == 24


def test_picture_headers(client: Client) -> None:
    first = client.get(product_path("a", "image"))
    assert first.headers["content-type"] == "image/png"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert "max-age" in first.headers["cache-control"]
    assert "sandbox" in first.headers["content-security-policy"]
    etag = first.headers["etag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(product_path("a", "image"), headers={"if-none-match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert client.get(product_path("a", "image"), headers={"if-none-match": '"other"'}).status_code == 200


def test_pictures_that_are_gone_or_changed(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve()
    client.wait(lambda state: state["ready"])
    folder = shop.folder / "pictures-1"
    (folder / "0000.png").unlink()
    (folder / "0001.png").write_text("<script>alert(1)</script>")
    (folder / "0002.png").write_bytes(picture(77, kind="JPEG"))
    (folder / "0003.png").unlink()
    (folder / "0003.png").mkdir()

    gone = client.get(product_path(IDS[0], "image"))
    assert (gone.status_code, gone.json()["code"]) == (404, "image_missing")
    script = client.get(product_path(IDS[1], "image"))
    assert (script.status_code, script.json()["code"]) == (502, "image_unreadable")
    assert client.get(product_path(IDS[2], "image")).headers["content-type"] == "image/jpeg"
    folder_now = client.get(product_path(IDS[3], "image"))
    assert (folder_now.status_code, folder_now.json()["code"]) == (502, "image_unreadable")
    for response in (gone, script, folder_now):
        assert str(shop.folder) not in response.text  # where files lie is nobody's business


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (picture(1, kind="JPEG"), "image/jpeg"),
        (picture(1, kind="PNG"), "image/png"),
        (picture(1, kind="WEBP"), "image/webp"),
        (picture(1, kind="GIF"), "image/gif"),
        (picture(1, kind="TIFF"), "image/tiff"),
        (picture(1, kind="BMP"), "image/bmp"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_content_types(data: bytes, expected: str | None) -> None:
    assert content_type(data) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (float("inf"), None),
        (Decimal("9.50"), 9.5),
        (Decimal("NaN"), None),
        (dt.date(2026, 11, 22), "2026-11-22"),
        (dt.datetime(2026, 11, 22, 1, 2, tzinfo=dt.UTC), "2026-11-22T01:02:00+00:00"),
        (b"\xff", "/w=="),
        ([float("nan"), 1], [None, 1]),
        ({"a": {"b": float("nan")}}, {"a": {"b": None}}),
        (dt.timedelta(seconds=5), "0:00:05"),
    ],
)
def test_plain_values(value: Any, expected: Any) -> None:
    assert to_json_value(value) == expected


def test_paths() -> None:
    assert product_path("shoes/x.png") == "/v1/products/shoes/x.png"
    assert product_path("a/image") == "/v1/products/a%2Fimage"
    assert product_path("a/../b") == "/v1/products/a%2F..%2Fb"
    assert product_path("ä?#%") == "/v1/products/%C3%A4%3F%23%25"
    assert Path(product_path("x", "similar")).name == "similar"


ODDER = [".", "..", "...", "../..", "_", "a\nb", "\n", "\r\n", "x/image\n", "\u2028", "./image"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("odd")
    rows = write_pictures(folder, len(ODDER))
    for row, product in zip(rows, ODDER, strict=True):
        row["id"] = product
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(rows))
    with running(create_app(Runtime(make_settings(folder)))) as client:
        client.wait(lambda state: state["ready"])
        yield client


@pytest.mark.parametrize("product", ODDER)
def test_ids_of_dots_and_line_ends_have_addresses_that_no_client_changes(odd: Client, product: str) -> None:
    place = ODDER.index(product)
    for part in ("", "image", "similar"):
        address = product_path(product, part)
        assert urljoin("http://shop/", address) == f"http://shop{address}"
        reply = odd.get(address)
        assert reply.status_code == 200, reply.text
        if part == "image":
            assert reply.content == picture(place)
        elif part == "similar":
            assert product not in [hit["id"] for hit in reply.json()["hits"]]
        else:
            assert reply.json()["id"] == product
            assert odd.get(reply.json()["image_url"]).content == picture(place)
    assert odd.search(product_id=product).status_code == 200


def test_replies_are_not_kept_by_caches(client: Client) -> None:
    for path in ("/v1/products/a", "/v1/products/a/similar", "/v1/products", "/v1/snapshots/current", "/v1/snapshots"):
        assert client.get(path).headers["cache-control"] == "no-store", path
    assert client.search(product_id="a").headers["cache-control"] == "no-store"
    assert client.post("/v1/search/batch", json={"queries": []}).headers["cache-control"] == "no-store"
    assert client.get(product_path("a", "image")).headers["cache-control"] == "private, max-age=300"
