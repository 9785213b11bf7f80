from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.client import Client
from tests.support.shop import ODD_ID, Shop, picture, product_ids

IDS = product_ids(24)


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [hit["id"] for hit in response.json()["hits"]]


def send(client: Client, image: bytes, **fields: Any) -> httpx.Response:
    return client.post("/v1/search", files={"image": ("query.png", image, "image/png")}, data=fields)


@pytest.mark.parametrize("number", [0, 1, 7, 23])
def test_a_catalogue_picture_finds_its_product_first(client: Client, number: int) -> None:
    response = send(client, picture(number))
    assert ids(response)[0] == IDS[number]
    assert response.json()["hits"][0]["score"] == pytest.approx(1.0, abs=1e-5)


def test_the_reply_is_the_contract(served: tuple[Shop, Client]) -> None:
    shop, client = served
    reply = send(client, picture(0), k="3").json()
    assert set(reply) == {"snapshot", "took_ms", "total", "hits"}
    assert reply["total"] == 24
    assert reply["snapshot"] == shop.channel.current().snapshot
    assert reply["took_ms"] > 0
    assert len(reply["hits"]) == 3
    hit = reply["hits"][0]
    assert set(hit) == {"id", "score", "title", "attributes", "image_url"}
    assert hit["id"] == ODD_ID
    assert hit["image_url"] == "/v1/products/shoes/%C3%A4%20b%3Fc%23d.png/image"
    assert hit["attributes"] == {"category": "shoes", "new": True, "price": 10.0, "stock": 0, "tags": ["red", "sale"]}
    scores = [one["score"] for one in reply["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_base64_is_the_same_query(client: Client) -> None:
    text = base64.b64encode(picture(5)).decode()
    wanted = ids(send(client, picture(5)))
    assert ids(client.search(image=text)) == wanted
    assert ids(client.search(image=f"data:image/png;base64,{text}")) == wanted
    assert ids(client.search(image="\n".join(text[i : i + 76] for i in range(0, len(text), 76)))) == wanted


def test_k_defaults_to_ten_and_may_exceed_the_catalogue(client: Client) -> None:
    assert len(ids(client.search(product_id="a"))) == 10
    assert len(ids(client.search(product_id="a", k=1000))) == 23
    assert len(ids(send(client, picture(1), k="1000"))) == 24


def test_a_product_is_left_out_of_its_own_hits(client: Client) -> None:
    by_search = ids(client.search(product_id=ODD_ID, k=24))
    assert ODD_ID not in by_search
    assert ids(client.get("/v1/products/a/similar", params={"k": 5})) == ids(client.search(product_id="a", k=5))


def test_a_vector_of_the_encoder(client: Client) -> None:
    dimension = client.get("/v1/snapshots/current").json()["encoder"]["dimension"]
    vector = [1.0] * dimension
    reply = client.search(vector=vector, k=4)
    assert len(ids(reply)) == 4
    assert ids(client.search(vector=[10 * value for value in vector], k=4)) == ids(reply)


def test_offset_pages_through_all(client: Client) -> None:
    whole = ids(client.search(product_id="a", k=23))
    pages = [ids(client.search(product_id="a", k=5, offset=offset)) for offset in range(0, 25, 5)]
    assert [one for page in pages for one in page] == whole
    assert ids(send(client, picture(1), k="5", offset="5")) == ids(send(client, picture(1), k="10"))[5:]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["category=shoes"], range(0, 24, 3)),
        (["category=shoes", "stock<10"], [0, 3, 6, 9]),
        (["category in shoes,hats", "stock<=4"], [0, 1, 3, 4]),
        (["category!=shoes", "price<15"], [1, 2, 4]),
        (["new=true", "stock>19"], [20, 22]),
        (["tags=red"], range(0, 24, 4)),
        (["tags!=red", "stock<=2"], [1, 2]),
        (["stock=8.0"], [8]),
        (["category=none such"], []),
    ],
)
def test_filters_select_exactly(client: Client, filters: list[str], expected: Any) -> None:
    wanted = {IDS[number] for number in expected}
    assert set(ids(send(client, picture(50), k="24", filter=filters))) == wanted
    assert set(ids(client.search(product_id="a", k=24, filter=filters))) == wanted - {"a"}
    listed = client.get("/v1/products", params={"filter": filters}).json()
    assert (listed["total"], {product["id"] for product in listed["products"]}) == (len(wanted), wanted)


def test_one_filter_needs_no_list(client: Client) -> None:
    assert ids(client.search(product_id="a", k=24, filter="stock=3")) == [IDS[3]]
    assert len(ids(client.search(product_id="a", filter=None))) == 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_formats(client: Client, kind: str) -> None:
    assert ids(send(client, picture(9, (200, 150), kind), k="1"))


def test_a_large_picture_needs_no_disk(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))  # a spooled file would fail to appear here
    noise = random.Random(1).randbytes(1500 * 1000)
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.frombytes("RGB", (1000, 500), noise).save(buffer, "PNG")
    assert len(buffer.getvalue()) > 2**20
    assert ids(send(client, buffer.getvalue(), k="1"))
