"""Each bad query has its own code, a status that tells whose fault it is, and a sentence that says what to do."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from lookalike.serving.codes import ERROR_CODES
from tests.support.client import Client
from tests.support.shop import picture

GOOD = picture(1)
TEXT = base64.b64encode(GOOD).decode()
FIELD_K = b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\nab\r\n--x--\r\n'
JSON = {"content-type": "application/json"}


def check(response: httpx.Response, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    assert problem["status"] == response.status_code == ERROR_CODES[code].status
    assert problem["title"] == ERROR_CODES[code].title
    assert problem["type"] == f"/problems#{code}"
    assert problem["detail"][-1] in ".!?"
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def bomb(side: int) -> bytes:
    """A PNG that says to be `side` pixels square and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "no_query"),
        ({"k": 5}, "no_query"),
        ({"image": None}, "no_query"),
        ({"image": TEXT, "product_id": "a"}, "several_queries"),
        ({"vector": [1.0], "product_id": "a"}, "several_queries"),
        ({"product_id": "no such"}, "unknown_product"),
        ({"product_id": ""}, "unknown_product"),
        ({"vector": [1.0, 2.0]}, "vector_length"),
        ({"vector": []}, "vector_length"),
        ({"vector": [0.0] * 192}, "vector_zero"),
        ({"vector": [1e300] * 192}, "vector_not_finite"),
        ({"vector": ["1.0"] * 192}, "bad_field"),
        ({"vector": [1.0] * 70_000}, "bad_field"),
        ({"vector": "abc"}, "bad_field"),
        ({"image": 7}, "bad_field"),
        ({"product_id": "a", "k": 0}, "bad_k"),
        ({"product_id": "a", "k": -1}, "bad_k"),
        ({"product_id": "a", "k": 1_000_000}, "bad_k"),
        ({"product_id": "a", "k": "ten"}, "bad_k"),
        ({"product_id": "a", "k": 2.5}, "bad_k"),
        ({"product_id": "a", "k": True}, "bad_k"),
        ({"product_id": "a", "k": None}, "bad_k"),
        ({"product_id": "a", "k": 10**30}, "bad_k"),
        ({"product_id": "a", "offset": -1}, "bad_offset"),
        ({"product_id": "a", "offset": 10**9}, "bad_offset"),
        ({"product_id": "a", "filter": ["colour=red"]}, "unknown_attribute"),
        ({"product_id": "a", "filter": ["nonsense"]}, "bad_filter"),
        ({"product_id": "a", "filter": ["price<=cheap"]}, "bad_filter"),
        ({"product_id": "a", "filter": ["new=perhaps"]}, "bad_filter"),
        ({"product_id": "a", "filter": [""]}, "bad_filter"),
        ({"product_id": "a", "filter": [3]}, "bad_filter"),
        ({"product_id": "a", "filter": {"category": "shoes"}}, "bad_filter"),
        ({"product_id": "a", "filter": ["category=" + "x" * 5000]}, "bad_filter"),
        ({"product_id": "a", "filter": ["stock=1"] * 33}, "too_many_filters"),
        ({"product_id": "a", "colour": "red"}, "unknown_field"),
        ({"url": "https://shop.example/a.png"}, "urls_off"),
        ({"url": "https://shop.example/a.png", "image": TEXT}, "several_queries"),
        ({"positive": []}, "bad_field"),
        ({"positive": [{}]}, "no_query"),
        ({"positive": [{"product_id": "a", "image": TEXT}]}, "several_queries"),
        ({"positive": [{"product_id": "a", "k": 3}]}, "unknown_field"),
        ({"positive": [{"product_id": "a"}], "image": TEXT}, "several_queries"),
        ({"positive": [{"product_id": "a"}] * 17}, "too_many_examples"),
        ({"positive": [{"product_id": "a"}] * 16, "negative": [{"product_id": "a"}]}, "too_many_examples"),
        ({"positive": [{"image": TEXT}], "crop": [0, 0, 1, 1]}, "bad_crop"),
        ({"positive": [{"image": TEXT}, {"image": "bm8="}]}, "image_not_an_image"),
        ({"positive": [{"image": TEXT}, {"vector": [1.0]}]}, "vector_length"),
        ({"positive": [{"vector": [1.0] * 192}], "negative": [{"vector": [0.0] * 192}]}, "vector_zero"),
        ({"positive": [{"vector": [1.0] * 192}, {"vector": [-1.0] * 192}]}, "vector_zero"),
        ({"negative": [{"product_id": "a"}]}, "no_query"),
        ({"product_id": "a", "negative": [{"product_id": "none such"}]}, "unknown_product"),
        ({"product_id": "a", "negative": [{"product_id": "a"}], "negative_weight": 1.5}, "bad_field"),
        ({"product_id": "a", "crop": [0, 0, 1, 1]}, "bad_crop"),
        ({"image": TEXT, "crop": [0, 0, 1]}, "bad_crop"),
        ({"image": TEXT, "crop": [0, 0, 1, 1.01]}, "bad_crop"),
        ({"image": TEXT, "crop": [-0.1, 0, 1, 1]}, "bad_crop"),
        ({"image": TEXT, "crop": [0.6, 0, 0.4, 1]}, "bad_crop"),
        ({"image": TEXT, "crop": "0,0,1,1"}, "bad_crop"),
        ({"image": TEXT, "crop": [0, 0, 1e-9, 1]}, "image_too_small"),
        ({"product_id": "a", "min_score": 1.1}, "bad_min_score"),
        ({"product_id": "a", "min_score": "0.5"}, "bad_min_score"),
        ({"product_id": "a", "group_by": 5}, "bad_group_by"),
        ({"product_id": "a", "group_by": "tags"}, "bad_group_by"),
        ({"product_id": "a", "group_by": "colour"}, "unknown_attribute"),
        ({"product_id": "a", "facets": ["colour"]}, "unknown_attribute"),
        ({"product_id": "a", "facets": [7]}, "bad_facets"),
        ({"product_id": "a", "facets": list("abcdefghi")}, "bad_facets"),
        ({"product_id": "a", "fields": ["price"]}, "bad_fields"),
        ({"product_id": "a", "fields": ["attributes.colour"]}, "unknown_attribute"),
        ({"product_id": "a", "snapshot": "20260101T000000Z-00000000"}, "snapshot_not_held"),
        ({"image": "no base64!"}, "malformed_base64"),
        ({"image": "abc"}, "malformed_base64"),
        ({"image": "ä"}, "malformed_base64"),
        ({"image": ""}, "image_empty"),
        ({"image": base64.b64encode(b"just text").decode()}, "image_not_an_image"),
    ],
)
def test_json(client: Client, query: dict[str, Any], code: str) -> None:
    import json

    check(client.post("/v1/search", content=json.dumps(query), headers=JSON), code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b'{"product_id": "\xff"}', "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b"[]", "bad_field"),
        (b"null", "bad_field"),
        (b'"text"', "bad_field"),
        (b'{"vector": [NaN, 1.0]}', "vector_not_finite"),
        (b'{"vector": [1.0, -Infinity]}', "vector_not_finite"),
        (b'{"vector": [1e999]}', "vector_not_finite"),
    ],
)
def test_raw_json(client: Client, body: bytes, code: str) -> None:
    check(client.post("/v1/search", content=body, headers=JSON), code)


@pytest.mark.parametrize(("body", "where"), [(b"[]", "The body"), (b'{"positive": [1]}', "`positive.0`")])
def test_what_is_no_object_is_said_in_words_of_json(client: Client, body: bytes, where: str) -> None:
    """Not in those of the class that it is read into."""
    detail = client.post("/v1/search", content=body, headers=JSON).json()["detail"]
    assert detail.startswith(where)
    assert detail.endswith(": Input should be an object.")


@pytest.mark.parametrize(
    "value", ["stock=99999999999999999999999", "stock<1e400", "stock=nan", "price=NaN", "price<-inf"]
)
def test_numbers_beyond_every_type_are_no_failure(client: Client, value: str) -> None:
    response = client.search(product_id="a", filter=value)
    assert response.status_code in {200, 422}
    if response.status_code == 422:
        check(response, "bad_filter")


@pytest.mark.parametrize("operator", ["=", "!=", "<", "<=", ">", ">=", " in "])
@pytest.mark.parametrize("name", ["category", "price", "stock", "new", "tags"])
def test_every_operator_on_every_type_is_an_answer(client: Client, name: str, operator: str) -> None:
    for value in ("1", "true", "shoes", "", ","):
        response = client.search(product_id="a", filter=f"{name}{operator}{value}")
        assert response.status_code in {200, 422}, response.text


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", "image_empty"),
        (b"this is text that somebody called a picture", "image_not_an_image"),
        (GOOD[:60], "image_damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_unsupported_format"),
        (bomb(15_000), "image_too_many_pixels"),
        (bomb(10_000), "image_too_many_pixels"),
        (bomb(7_100), "image_too_many_pixels"),
    ],
)
def test_pictures(client: Client, image: bytes, code: str) -> None:
    check(client.post("/v1/search", files={"image": ("x.png", image)}), code)


def test_a_picture_of_one_pixel(client: Client) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    check(client.post("/v1/search", files={"image": ("x.png", buffer.getvalue())}), "image_too_small")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"data": {"k": "0"}}, "bad_k"),
        ({"data": {"k": "1000000"}}, "bad_k"),
        ({"data": {"k": "many"}}, "bad_k"),
        ({"data": {"k": "٣٣٣٣٣٣"}}, "bad_k"),
        ({"data": {"k": "9" * 5000}}, "bad_k"),
        ({"data": {"offset": "-1"}}, "bad_offset"),
        ({"data": {"filter": "colour=red"}}, "unknown_attribute"),
        ({"data": {"filter": ["stock=1"] * 33}}, "too_many_filters"),
        ({"data": {"product_id": "a"}}, "several_queries"),
        ({"data": {"surprise": "1"}}, "unknown_field"),
        ({"data": {"positive": "[]"}}, "several_queries"),
        ({"data": {"crop": "0,0,1"}}, "bad_crop"),
        ({"data": {"crop": "0,0,1,nan"}}, "bad_crop"),
        ({"data": {"crop": "a,b,c,d"}}, "bad_crop"),
        ({"data": {"crop": "0.5,0,0.5,1"}}, "bad_crop"),
        ({"data": {"crop": ["0,0,1,1", "0,0,1,1"]}}, "bad_crop"),
        ({"data": {"crop": "0,0,0.001,0.001"}}, "image_too_small"),
        ({"data": {"min_score": "high"}}, "bad_min_score"),
        ({"data": {"min_score": "2"}}, "bad_min_score"),
        ({"data": {"min_score": "inf"}}, "bad_min_score"),
        ({"data": {"group_by": "colour"}}, "unknown_attribute"),
        ({"data": {"group_by": "tags"}}, "bad_group_by"),
        ({"data": {"facets": "category,colour"}}, "unknown_attribute"),
        ({"data": {"facets": ",".join("abcdefghi")}}, "bad_facets"),
        ({"data": {"fields": "id,price"}}, "bad_fields"),
        ({"data": {"fields": "attributes.colour"}}, "unknown_attribute"),
        ({"data": {"snapshot": "20260101T000000Z-00000000"}}, "snapshot_not_held"),
    ],
)
def test_forms(client: Client, more: dict[str, Any], code: str) -> None:
    check(client.post("/v1/search", files={"image": ("x.png", GOOD)}, **more), code)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"picture": ("x.png", GOOD)}, "unknown_field"),
        ({"image": (None, "text instead of a file")}, "no_query"),
        ({"k": (None, "3")}, "no_query"),
        ({"product_id": (None, "a")}, "no_query"),
        ([("image", ("x.png", GOOD))] * 17, "too_many_examples"),
        ([("image", ("x.png", GOOD))] * 18, "malformed_multipart"),
        ([("image", ("x.png", GOOD)), ("image", ("y.png", b"text"))], "image_not_an_image"),
        ([("image", ("x.png", GOOD)), ("image", (None, "text"))], "no_query"),
        ({"image": ("x.png", GOOD), "k": ("k.txt", b"3")}, "bad_field"),
    ],
)
def test_form_files(client: Client, files: Any, code: str) -> None:
    check(client.post("/v1/search", files=files), code)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("multipart/form-data", b"", "malformed_multipart"),
        ("multipart/form-data; boundary=x", b"no boundary here", "malformed_multipart"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc\r\n--x--\r\n", "malformed_multipart"),
        ("multipart/form-data; boundary=x; charset=base64", FIELD_K, "no_query"),
        ("application/x-www-form-urlencoded", b"product_id=a", "unsupported_media_type"),
        ("text/plain", b"a", "unsupported_media_type"),
        ("image/png", GOOD, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_bodies(client: Client, kind: str, body: bytes, code: str) -> None:
    check(client.post("/v1/search", content=body, headers={"content-type": kind}), code)


def test_no_body(client: Client) -> None:
    check(client.post("/v1/search"), "no_query")


def test_a_body_that_says_it_is_too_large(client: Client) -> None:
    check(client.post("/v1/search", content=b"x" * (10 * 2**20 + 1), headers=JSON), "body_too_large")


def test_a_body_that_grows_too_large(client: Client) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 2**20

    check(client.post("/v1/search", content=endless(), headers=JSON), "body_too_large")
    kind = {"content-type": "multipart/form-data; boundary=x"}
    start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    async def endless_form() -> Any:
        yield start
        async for chunk in endless():
            yield chunk

    check(client.post("/v1/search", content=endless_form(), headers=kind), "body_too_large")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/v1/products/no%20such", "unknown_product"),
        ("/v1/products/no%20such/similar", "unknown_product"),
        ("/v1/products/no%20such/image", "unknown_product"),
        ("/v1/products/a/similar?k=0", "bad_k"),
        ("/v1/products/a/similar?k=x", "bad_k"),
        ("/v1/products/a/similar?k=1000000", "bad_k"),
        ("/v1/products/a/similar?offset=-1", "bad_offset"),
        ("/v1/products/a/similar?filter=colour%3Dred", "unknown_attribute"),
        ("/v1/products/a/similar?filter=x", "bad_filter"),
        ("/v1/products?limit=0", "bad_limit"),
        ("/v1/products?limit=101", "bad_limit"),
        ("/v1/products?limit=x", "bad_limit"),
        ("/v1/products?offset=-1", "bad_offset"),
        ("/v1/products?offset=99999999999999999999", "bad_offset"),
        ("/v1/products?filter=colour%3Dred", "unknown_attribute"),
        ("/v1/products?facets=colour", "unknown_attribute"),
        ("/v1/products?snapshot=none", "snapshot_not_held"),
        ("/v1/products/a/similar?min_score=2", "bad_min_score"),
        ("/v1/products/a/similar?min_score=nan", "bad_min_score"),
        ("/v1/products/a/similar?min_score=x", "bad_min_score"),
        ("/v1/products/a/similar?fields=price", "bad_fields"),
        ("/v1/products/a/similar?group_by=tags", "bad_group_by"),
        ("/v1/products/a/similar?snapshot=none", "snapshot_not_held"),
        ("/v1/products/a/image?size=65", "bad_size"),
        ("/v1/products/a/image?size=0", "bad_size"),
        ("/v1/products/a/image?size=99999999999999999999999", "bad_size"),
        ("/v1/products/a/image?size=big", "bad_size"),
        ("/v1/nothing", "not_found"),
        ("/static/nothing.js", "not_found"),
        ("/static/../app.py", "not_found"),
        ("/v1/search", "no_query"),
        ("/v1/search?text=", "bad_text"),
        ("/v1/search?text=a&text=b", "bad_text"),
        ("/v1/search?text=a&k=0", "bad_k"),
        ("/v1/search?text=a&explain=maybe", "bad_field"),
        ("/v1/search?text=a&weights=words", "bad_weights"),
        ("/v1/search/batch", "method_not_allowed"),
    ],
)
def test_addresses(client: Client, address: str, code: str) -> None:
    check(client.get(address), code)


def test_other_methods_are_named(client: Client) -> None:
    response = client.request("DELETE", "/v1/search")
    check(response, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ({}, "bad_field"),
        ({"queries": []}, "no_query"),
        ({"queries": {}}, "bad_field"),
        ({"queries": [{"product_id": "a"}] * 33}, "too_many_queries"),
        ({"queries": [{"positive": [{"image": TEXT}] * 13}] * 5}, "too_many_pictures"),
        ({"queries": [{"product_id": "a"}], "k": 3}, "unknown_field"),
        ({"queries": [{"product_id": "a"}], "snapshot": "none"}, "snapshot_not_held"),
    ],
)
def test_batches(client: Client, batch: Any, code: str) -> None:
    check(client.post("/v1/search/batch", json=batch), code)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("", b"", "no_query"),
        ("multipart/form-data; boundary=x", b"", "unsupported_media_type"),
        ("application/json", b"[", "malformed_json"),
        ("application/json", b"[]", "bad_field"),
    ],
)
def test_bodies_of_batches(client: Client, kind: str, body: bytes, code: str) -> None:
    check(client.post("/v1/search/batch", content=body, headers={"content-type": kind} if kind else {}), code)


def test_the_example_at_fault_is_named(client: Client) -> None:
    problem = check(client.search(positive=[{"image": TEXT}, {"image": "bm8="}]), "image_not_an_image")
    assert problem["detail"].startswith("Example 2: ")


def test_the_server_still_answers(client: Client) -> None:
    assert client.post("/v1/search", files={"image": ("x.png", GOOD)}).status_code == 200
