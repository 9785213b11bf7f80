"""A product's own picture, as cameras, phones and shops' programs would send it."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from lookalike.tasks.images.heic import can_read_heic
from tests.support.client import Client
from tests.support.profiles import PROFILES, in_profile
from tests.support.shop import picture, product_ids

IDS = product_ids(24)


def first(client: Client, data: bytes) -> tuple[str, float]:
    reply = client.post("/v1/search", files={"image": ("a", data)}, data={"k": "1"})
    assert reply.status_code == 200, reply.text
    (hit,) = reply.json()["hits"]
    return hit["id"], hit["score"]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("place", [0, 5, 11])
def test_a_picture_in_any_profile_is_nearest_to_itself(client: Client, name: str, place: int) -> None:
    image = Image.open(io.BytesIO(picture(place)))
    product, score = first(client, in_profile(image, PROFILES[name]))
    assert product == IDS[place]
    assert score > 0.99


def test_a_picture_in_heic_is_nearest_to_itself(client: Client) -> None:
    assert can_read_heic()
    for place in (0, 5, 11):
        product, score = first(client, picture(place, kind="HEIF"))
        assert product == IDS[place]
        assert score > 0.99


def test_a_jpeg_without_its_end_and_an_avif_are_searched_by(client: Client) -> None:
    assert first(client, picture(3, kind="JPEG")[:-2])[0] == IDS[3]
    assert first(client, picture(3, kind="AVIF"))[0] == IDS[3]
    refused = client.post("/v1/search", files={"image": ("a", picture(3, kind="JPEG")[:-200])})
    assert (refused.status_code, refused.json()["code"]) == (422, "image_damaged")
