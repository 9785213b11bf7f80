"""Vectors of pictures: each for itself, by the encoder of one snapshot, within the limits that searches have."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lookalike.serving.rest.body import EMBED_FIELDS
from lookalike.serving.rest.schema import EmbedReply
from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.shop import Shop, picture

ONE, TWO = picture(1), picture(2)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ask(client: Client, *images: Any, **more: Any) -> dict[str, Any]:
    reply = client.post("/v1/embed", json={"images": images, **more})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def ask_form(client: Client, pictures: Sequence[bytes], **fields: Any) -> Any:
    return client.post("/v1/embed", files=[("image", ("a.png", data)) for data in pictures], data=fields)


def test_it_says_whose_vectors_these_are(served: tuple[Shop, Client]) -> None:
    shop, client = served
    found = ask(client, {"image": encoded(ONE)})
    encoder = client.get("/v1/snapshots/current").json()["encoder"]
    assert found["encoder"] == encoder
    assert found["snapshot"] == shop.channel.current().snapshot
    assert (found["dimension"], found["projected"]) == (encoder["dimension"], False)
    assert len(found["results"][0]["vector"]) == encoder["dimension"]


def test_a_vector_finds_what_its_picture_finds(client: Client) -> None:
    crop = [0.1, 0.0, 0.6, 0.9]
    asked: list[dict[str, Any]] = [{"image": encoded(ONE)}, {"image": encoded(TWO), "crop": crop}]
    for image, result in zip(asked, ask(client, *asked)["results"], strict=True):
        by_picture = client.search(**image, k=12).json()["hits"]
        assert by_picture
        assert client.search(vector=result["vector"], k=12).json()["hits"] == by_picture


def test_a_form_and_json_get_the_same(client: Client) -> None:
    by_json = ask(client, {"image": encoded(ONE)}, {"image": encoded(TWO), "crop": [0, 0, 0.5, 1]})["results"]
    by_form = ask_form(client, [ONE, TWO], crop=["", "0,0,0.5,1"])
    assert by_form.status_code == 200
    assert by_form.json()["results"] == by_json


def test_packed_vectors_are_the_same_numbers(client: Client) -> None:
    numbers = ask(client, {"image": encoded(ONE)})["results"][0]["vector"]
    packed = ask(client, {"image": encoded(ONE)}, encoding="base64")["results"][0]["vector"]
    assert np.frombuffer(base64.b64decode(packed), "<f4").tolist() == numbers
    assert ask_form(client, [ONE], encoding="base64").json()["results"] == [{"vector": packed}]


def test_projected_vectors_are_those_of_the_index(client: Client) -> None:
    plain, searcher = ask(client, {"image": encoded(ONE)})["results"][0]["vector"], client.loaded.searcher
    found = ask_form(client, [ONE], projected="true").json()
    assert (found["projected"], found["dimension"]) == (True, searcher.manifest.index.dimension)
    vector = np.asarray(found["results"][0]["vector"], np.float32)
    assert np.array_equal(vector, searcher.direction(np.asarray(plain, np.float32)))
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_each_picture_is_answered_for_itself(client: Client) -> None:
    pictures: list[Any] = [
        {"image": encoded(ONE)},
        {"image": encoded(b"text")},
        {"image": "no base64!"},
        {"image": encoded(ONE), "crop": [1, 0, 0, 1]},
        {"image": encoded(ONE), "url": "https://a.example/x.png"},
        {"url": "https://a.example/x.png"},
        {"crop": [0, 0, 1, 1]},
        {"image": encoded(ONE), "k": 3},
        {"image": 7},
        "text",
        {"image": encoded(TWO)},
    ]
    results = ask(client, *pictures)["results"]
    assert [result.get("problem", {}).get("code") for result in results] == [
        *(None, "image_not_an_image", "malformed_base64", "bad_crop", "several_queries", "urls_off", "no_query"),
        *("unknown_field", "bad_field", "bad_field", None),
    ]
    assert all(len(result) == 1 for result in results)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "bad_field"),
        ({"images": []}, "no_query"),
        ({"images": {}}, "bad_field"),
        ({"images": [{"image": ""}] * 65}, "too_many_pictures"),
        ({"images": [{}], "projected": "yes"}, "bad_field"),
        ({"images": [{}], "encoding": "float64"}, "bad_field"),
        ({"images": [{}], "k": 3}, "unknown_field"),
        ({"images": [{}], "snapshot": "none"}, "snapshot_not_held"),
        ([], "bad_field"),
    ],
)
def test_what_is_wrong_with_the_whole_request(client: Client, body: Any, code: str) -> None:
    assert client.post("/v1/embed", json=body).json()["code"] == code


def test_what_is_wrong_with_a_form(client: Client) -> None:
    assert ask_form(client, [ONE], k=3).json()["code"] == "unknown_field"
    assert ask_form(client, [ONE], projected="maybe").json()["code"] == "bad_field"
    assert ask_form(client, [ONE], crop=["", ""]).json()["code"] == "bad_crop"
    assert ask_form(client, [ONE] * 65).json()["code"] == "too_many_pictures"
    assert client.post("/v1/embed", files={"crop": (None, "")}).json()["code"] == "no_query"
    assert client.post("/v1/embed").json()["code"] == "no_query"
    assert client.post("/v1/embed", content=b"x", headers={"content-type": "text/plain"}).status_code == 415


def test_more_pictures_than_a_query_has_examples_fit(client: Client) -> None:
    assert len(ask_form(client, [ONE] * 40).json()["results"]) == 40


def test_the_fields_of_the_form_are_described(client: Client) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"]["/v1/embed"]["post"]["requestBody"]["content"]
    assert set(content["multipart/form-data"]["schema"]["properties"]) == set(EMBED_FIELDS)
    found = ask(client, {"image": encoded(ONE)}, {"image": ""})
    assert EmbedReply.model_validate(found).model_dump(mode="json", exclude_unset=True) == found


def test_a_request_counts_by_its_pictures(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(rates={"per_address": 1, "burst": 10})
    client.wait(lambda state: state["ready"])
    assert len(ask(client, *[{"image": encoded(ONE)}] * 6)["results"]) == 6
    refused = client.post("/v1/embed", json={"images": [{"image": encoded(ONE)}] * 6})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


def test_its_pictures_share_what_searches_know(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.search(image=encoded(picture(900)))
    encoder = client.loaded.searcher.encoder
    monkeypatch.setattr(encoder, "infer", None)
    assert "vector" in ask(client, {"image": encoded(picture(900))})["results"][0]


def test_what_is_not_done_in_time_is_told(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(8)
    client = serve(limits={"request_seconds": 0.6})
    client.wait(lambda state: state["ready"])
    known = {"image": encoded(picture(901))}
    ask(client, known)
    encoder = client.loaded.searcher.encoder
    infer = encoder.infer

    def dawdle(batch: Any) -> Any:
        time.sleep(1.2)
        return infer(batch)

    monkeypatch.setattr(encoder, "infer", dawdle)
    results = ask(client, known, {"image": encoded(picture(902))})["results"]
    assert "vector" in results[0]
    assert results[1]["problem"]["code"] == "deadline_exceeded"


def test_without_a_snapshot_there_is_one_answer(serve: Serve, shop: Shop) -> None:
    reply = serve().post("/v1/embed", json={"images": [{"image": encoded(ONE)}]})
    assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")


def test_a_snapshot_that_is_held_can_be_asked(shop: Shop, serve: Serve) -> None:
    first = shop.publish(8)
    client = serve(retain_seconds=60)
    client.wait(lambda state: state["snapshot"] == first.id)
    second = shop.publish(8, encoder="tests.support.shop:OtherEncoder")
    client.wait(lambda state: state["snapshot"] == second.id)
    image = {"image": encoded(ONE)}
    assert ask(client, image)["encoder"]["name"] == "other"
    assert ask(client, image, snapshot=first.id)["encoder"]["name"] == "fake"
