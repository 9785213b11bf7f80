"""`Client` and `AsyncClient` against a real server: each kind of query, each result, each error."""

from __future__ import annotations

import array
import asyncio
import io
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import lookalike_client
from lookalike_client import (
    AsyncClient,
    BadPictureError,
    BadRequestError,
    Client,
    DeadlineExceededError,
    NotFoundError,
    ProblemError,
    SnapshotNotHeldError,
    UnauthorizedError,
    UnknownProductError,
)
from tests.support.processes import Server
from tests.support.shop import ODD_ID, Shop, product_ids

pytestmark = [pytest.mark.services]

PRODUCT = product_ids(4)[3]
Ask = Callable[[AsyncClient], Awaitable[object]]


def test_each_kind_of_picture_finds_its_product(client: Client, file: Path) -> None:
    content = file.read_bytes()
    with file.open("rb") as opened, Image.open(file) as image:
        kinds = [file, str(file), content, bytearray(content), memoryview(content), opened, io.BytesIO(content), image]
        found = [client.search(kind, k=3) for kind in kinds]
    assert {result[0].id for result in found} == {PRODUCT}
    assert len({tuple(hit.score for hit in result) for result in found}) == 1


def test_a_pil_image_finds_what_its_file_finds(client: Client, tmp_path: Path) -> None:
    file, drawn = tmp_path / "turned.jpg", Image.linear_gradient("L").convert("CMYK").resize((90, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    drawn.convert("RGB").save(file, quality=95, exif=exif)
    with Image.open(file) as image:
        assert [hit.id for hit in client.search(image)] == [hit.id for hit in client.search(file)]
        assert client.search(image)[0].score == pytest.approx(client.search(file)[0].score, abs=1e-4)
    assert len(client.search(drawn, k=2)) == 2


def test_vectors_of_all_kinds_find_the_same(client: Client, file: Path) -> None:
    vector = client.embed([file])[0].unwrap()
    as_array = np.asarray(vector)
    kinds = [vector, list(vector), tuple(vector), as_array, as_array.astype("float64"), array.array("d", vector)]
    found = [client.search(kind, k=3) for kind in kinds] + [client.search(vector=kind, k=3) for kind in kinds]
    assert {result[0].id for result in found} == {PRODUCT}
    assert len({tuple(hit.id for hit in result) for result in found}) == 1


def test_products_examples_and_crops(client: Client, file: Path) -> None:
    hats = client.search(product=PRODUCT, k=5, filter="category=hats")
    assert PRODUCT not in [hit.id for hit in hats]
    assert {hit.attributes["category"] for hit in hats} == {"hats"}
    several = client.search(positive=[file, lookalike_client.product(ODD_ID)], negative=[hats[0]], negative_weight=0.5)
    assert {ODD_ID, hats[0].id}.isdisjoint(hit.id for hit in several)
    cropped = client.search(file, crop=(0.0, 0.0, 0.5, 0.5))
    assert [hit.score for hit in cropped] != [hit.score for hit in client.search(file)]
    example = lookalike_client.picture(file, crop=(0.0, 0.0, 0.5, 0.5))
    assert [hit.score for hit in client.search(example)] == [hit.score for hit in cropped]
    assert [hit.score for hit in client.search(positive=[example])] == [hit.score for hit in cropped]


def test_options_by_form_and_by_json_are_the_same(client: Client, file: Path) -> None:
    first = client.search(file)
    found = [
        client.search(file, k=4, offset=1, filter=given, facets="category", snapshot=first.snapshot, min_score=-1)
        for given in ("price>=12", {"attribute": "price", "operator": ">=", "value": 12})
    ]
    assert [hit.id for hit in found[0]] == [hit.id for hit in found[1]]
    assert found[0].facets == found[1].facets
    assert found[0].facets["category"].values.keys() == {"shoes", "hats", "bags"}
    assert found[0].snapshot == first.snapshot
    priced = client.search(file, facets=["price"]).facets["price"]
    assert (priced.low, priced.missing) == (10.0, 1)


def test_what_fields_leave_out_is_empty(client: Client) -> None:
    [hit] = client.search(product=PRODUCT, k=1, fields="title")
    assert hit.title.startswith("Product")
    assert hit.attributes == {}
    assert math.isnan(hit.score)
    grouped = client.search(product=PRODUCT, group_by="category", collapse="exact")
    assert len({hit.attributes["category"] for hit in grouped}) == len(grouped)


@pytest.mark.parametrize("product", product_ids(6))
def test_products_with_odd_ids(client: Client, shop: Shop, product: str) -> None:
    found = client.product(product)
    assert found.id == product
    place = product_ids(24).index(product)
    assert found.image() == (shop.folder / "pictures-1" / f"{place:04}.png").read_bytes()
    small = Image.open(io.BytesIO(found.image(size=64)))
    assert small.format == "JPEG"
    assert product not in [hit.id for hit in found.similar(k=3)]


def test_lists_snapshots_and_attributes(client: Client, shop: Shop) -> None:
    page = client.products(limit=3, filter=["category=shoes"], facets=["new"])
    assert (len(page), page.total) == (3, 8)
    rest = client.products(limit=100, offset=3, filter="category=shoes", snapshot=page.snapshot)
    assert len({product.id for product in (*page, *rest)}) == 8
    snapshot = client.snapshot()
    assert snapshot.products == 24
    assert snapshot.attributes["category"].values == {"shoes": 8, "hats": 8, "bags": 8}
    assert snapshot.encoder.dimension == len(
        client.embed([b"no picture", shop.folder / "pictures-1/0001.png"])[1].unwrap()
    )
    assert [held.id for held in client.snapshots()] == [snapshot.id]


def test_each_picture_of_an_embedding_has_its_own_answer(client: Client, file: Path) -> None:
    found = client.embed([file, b"no picture", lookalike_client.picture(file, crop=(0, 0, 0.5, 0.5))])
    assert [one.error is None for one in found] == [True, False, True]
    with pytest.raises(BadPictureError):
        found[1].unwrap()
    assert found[0].unwrap() != found[2].unwrap()
    assert client.embed([file], projected=True).projected


@pytest.mark.parametrize(
    ("ask", "kind", "code"),
    [
        (lambda client: client.search(product="none such"), UnknownProductError, "unknown_product"),
        (lambda client: client.product("none such"), NotFoundError, "unknown_product"),
        (lambda client: client.search(b"no picture"), BadPictureError, "image_not_an_image"),
        (lambda client: client.search(b""), BadPictureError, "image_empty"),
        (lambda client: client.search(product=PRODUCT, k=0), BadRequestError, "bad_k"),
        (lambda client: client.search(product=PRODUCT, filter="price?"), BadRequestError, "bad_filter"),
        (lambda client: client.search(vector=[1.0]), BadRequestError, "vector_length"),
        (lambda client: client.search(vector=[math.nan]), BadRequestError, "vector_not_finite"),
        (lambda client: client.search(product=PRODUCT, snapshot="none"), SnapshotNotHeldError, "snapshot_not_held"),
        (lambda client: client.search(url="https://x.example/"), lookalike_client.ForbiddenError, "urls_off"),
        (lambda client: client.image(PRODUCT, size=7), BadRequestError, "bad_size"),
    ],
)
def test_problems_have_classes_by_code(
    client: Client, running: Server, api_key: str, ask: Callable[..., object], kind: type[ProblemError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        ask(client)
    assert caught.value.code == code
    assert caught.value.request_id
    assert caught.value.detail.endswith((".", "!"))

    async def ask_in_a_loop() -> None:
        async with AsyncClient(running.url, api_key=api_key) as other:
            await ask(other)  # type: ignore[misc] # the shells have the same methods

    with pytest.raises(kind) as caught:
        asyncio.run(ask_in_a_loop())
    assert caught.value.code == code


def test_a_wrong_key_and_none(running: Server) -> None:
    for key in ("lk_wrong", None):
        with Client(running.url, api_key=key) as client, pytest.raises(UnauthorizedError) as caught:
            client.snapshot()
        assert caught.value.status == 401


def test_the_deadline_holds_for_all_tries(client: Client, file: Path) -> None:
    with pytest.raises(DeadlineExceededError):
        client.ask(lookalike_client.Query(file), timeout=0.0001)


def test_threads_share_a_client(client: Client, file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.search(file, k=1)[0].id, range(40)))
    assert found == [PRODUCT] * 40


def test_tasks_share_an_async_client(running: Server, api_key: str, file: Path) -> None:
    async def ask() -> None:
        async with AsyncClient(running.url, api_key=api_key) as client:
            found = await asyncio.gather(*(client.search(file, k=2) for _ in range(20)))
            assert {result[0].id for result in found} == {PRODUCT}
            assert (await found[0][0].image(size=64)).startswith(b"\xff\xd8")
            assert PRODUCT not in [hit.id for hit in await found[0][0].similar()]
            page = await client.products(limit=2)
            assert (await client.product(page[0].id)) == page[0]
            assert (await client.snapshot()).id == (await client.snapshots())[0].id
            assert len((await client.embed([file]))[0].unwrap()) == (await client.snapshot()).encoder.dimension

    asyncio.run(ask())


def test_answers_are_those_of_rest(client: Client, running: Server, api_key: str, file: Path) -> None:
    headers = {"Authorization": f"Bearer {api_key}"}
    said = httpx.post(
        f"{running.url}/v1/search", files={"image": file.read_bytes()}, data={"k": "5"}, headers=headers, timeout=20
    ).json()
    found = client.search(file, k=5)
    assert [(hit.id, hit.score, hit.title, hit.attributes, hit.image_url) for hit in found] == [
        (hit["id"], hit["score"], hit["title"], hit["attributes"], hit["image_url"]) for hit in said["hits"]
    ]
    assert found.snapshot == said["snapshot"]


def test_from_env(running: Server, api_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="LOOKALIKE_URL is not set"):
        Client.from_env()
    monkeypatch.setenv("LOOKALIKE_URL", running.url + "/")
    monkeypatch.setenv("LOOKALIKE_API_KEY", api_key)
    monkeypatch.setenv("LOOKALIKE_TIMEOUT", "20")
    with Client.from_env() as client:
        assert client.url == running.url
        assert client.snapshot().products == 24
    monkeypatch.setenv("LOOKALIKE_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="'soon'"):
        AsyncClient.from_env()


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    running: Server, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(running.url, api_key=api_key) as client:
        assert client.snapshot().products == 24


def test_html_has_pictures_and_escapes_all_text(client: Client, file: Path) -> None:
    html = client.search(file, k=3)._repr_html_()
    assert html.count("data:image/jpeg;base64,") == 3
    assert "<b>&</b>" not in html
    assert "Product 3 &lt;b&gt;&amp;&lt;/b&gt;" in html
