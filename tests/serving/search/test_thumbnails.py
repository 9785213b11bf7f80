"""Small copies of product pictures, pictures over HTTP, and what is compressed."""

from __future__ import annotations

import io
import socket
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookalike.serving.replies import product_path
from lookalike.serving.search.thumbnails import SIZES
from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.fetches import forget
from tests.support.shop import Shop, picture, product_ids, write_pictures
from tests.support.sites import LOCAL, Names, Site, answer, running

IDS = product_ids(8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture
def photos(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Large pictures: a JPEG that EXIF turns, one that is partly transparent, and plain ones."""
    from tests.support import shop as snapshots

    monkeypatch.setattr(snapshots, "picture", large_picture)
    shop.publish(8)
    return shop


@cache
def large_picture(seed: int) -> bytes:
    image = opened(picture(seed)).resize((1200, 800))
    exif, buffer = Image.Exif(), io.BytesIO()
    if seed == 0:
        exif[0x0112] = 6
    if seed == 1:
        image.putalpha(Image.new("L", image.size, 0))
    image.save(buffer, "PNG" if seed == 1 else "JPEG", exif=exif)
    return buffer.getvalue()


def metric(client: Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


def test_small_copies(photos: Shop, serve: Serve) -> None:
    client = serve()
    client.wait(lambda state: state["ready"])
    whole = client.get(product_path(IDS[2], "image"))
    for size in SIZES:
        small = client.get(product_path(IDS[2], "image"), params={"size": size})
        assert small.headers["content-type"] == "image/jpeg"
        assert max(opened(small.content).size) == size
        assert small.headers["etag"] != whole.headers["etag"]
        assert "max-age" in small.headers["cache-control"]
        assert "sandbox" in small.headers["content-security-policy"]
    assert len(client.get(product_path(IDS[2], "image"), params={"size": 128}).content) < len(whole.content) / 5


def test_they_stand_upright_and_on_white(photos: Shop, serve: Serve) -> None:
    client = serve()
    client.wait(lambda state: state["ready"])
    turned = opened(client.get(product_path(IDS[0], "image"), params={"size": 256}).content)
    assert turned.size[1] == 256 > turned.size[0]
    clear = opened(client.get(product_path(IDS[1], "image"), params={"size": 64}).content)
    assert clear.getpixel((30, 20)) == (255, 255, 255)


def test_small_pictures_are_not_enlarged(client: Client) -> None:
    assert opened(client.get(product_path("a", "image"), params={"size": 512}).content).size == (64, 48)


def test_a_copy_is_made_once_and_sent_once(photos: Shop, serve: Serve) -> None:
    client = serve()
    client.wait(lambda state: state["ready"])
    path = product_path(IDS[3], "image")
    first = client.get(path, params={"size": 128})
    (photos.folder / "pictures-1" / "0003.png").unlink()
    assert client.get(path, params={"size": 128}).content == first.content
    for given in (first.headers["etag"], f"W/{first.headers['etag']}", "*"):
        again = client.get(path, params={"size": 128}, headers={"if-none-match": given})
        assert (again.status_code, again.content) == (304, b"")
    assert metric(client, 'lookalike_thumbnails_total{source="made"}') == 1
    assert metric(client, 'lookalike_thumbnails_total{source="cached"}') == 4
    gone = client.get(path, params={"size": 256})
    assert (gone.status_code, gone.json()["code"]) == (404, "image_missing")


def test_what_is_kept_is_bounded(photos: Shop, serve: Serve) -> None:
    client = serve(thumbnail_bytes=20_000)
    client.wait(lambda state: state["ready"])
    for product in IDS * 2:
        assert client.get(product_path(product, "image"), params={"size": 256}).status_code == 200
    cache = client.runtime.thumbnails._cache
    assert 0 < cache.currsize <= 20_000


def test_a_picture_that_changed_is_not_kept_as_the_one_before(photos: Shop, serve: Serve) -> None:
    client = serve()
    client.wait(lambda state: state["ready"])
    file = photos.folder / "pictures-1" / "0003.png"
    before = file.read_bytes()
    file.write_bytes(picture(77))
    changed = client.get(product_path(IDS[3], "image"), params={"size": 64}).content
    file.write_bytes(before)
    assert client.get(product_path(IDS[3], "image"), params={"size": 64}).content != changed


def test_a_file_that_is_no_picture_is_told_without_its_place(photos: Shop, serve: Serve) -> None:
    client = serve()
    client.wait(lambda state: state["ready"])
    (photos.folder / "pictures-1" / "0003.png").write_text("root:x:0:0")
    reply = client.get(product_path(IDS[3], "image"), params={"size": 64})
    assert (reply.status_code, reply.json()["code"]) == (502, "image_unreadable")
    assert str(photos.folder) not in reply.text
    assert "root" not in reply.text


def on_the_web(rows: list[dict[str, Any]], port: int) -> list[dict[str, Any]]:
    """Return the rows of a catalogue that says where its pictures are on the web."""
    return [
        {**row, "file": row["image"], "image": f"http://shop.test:{port}/{number}.png"}
        for number, row in enumerate(rows)
    ]


def test_pictures_that_the_catalogue_has_on_the_web(
    shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:

    names = Names()
    names.answers["shop.test"] = [[LOCAL]]
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    forget()
    with running(Site()) as site:
        site.pages["/1.png"] = [answer(picture(1))]
        shop.point_at(shop.build_rows(on_the_web(write_pictures(tmp_path, 8), site.port)))
        allowed = {"allowed_hosts": "shop.test", "allowed_ports": str(site.port), "allowed_networks": "127.0.0.0/8"}
        closed = serve()
        closed.wait(lambda state: state["ready"])
        refused = closed.get(product_path(IDS[1], "image"))
        assert (refused.status_code, refused.json()["code"]) == (502, "image_unreadable")
        assert "shop.test" not in refused.text
        assert site.requests == []
        open_ = serve(fetch=allowed)  # it tries pictures of its snapshot by itself
        open_.wait(lambda state: state["ready"])
        assert open_.get(product_path(IDS[1], "image")).content == picture(1)
        assert open_.get(product_path(IDS[1], "image"), params={"size": 64}).headers["content-type"] == "image/jpeg"
        assert open_.get(product_path(IDS[2], "image")).json()["code"] == "image_missing"


# Compression


def test_long_json_is_compressed_and_short_or_unwanted_is_not(client: Client) -> None:
    query = {"product_id": "a", "k": 20}
    zipped = client.post("/v1/search", json=query, headers={"accept-encoding": "gzip"})
    plain = client.post("/v1/search", json=query, headers={"accept-encoding": "identity"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in zipped.headers["vary"]
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert zipped.json()["hits"] == plain.json()["hits"]
    assert "content-encoding" not in plain.headers
    short = client.post("/v1/search", json={**query, "k": 1}, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in short.headers


@pytest.mark.parametrize("size", [None, 64])
def test_pictures_are_not_compressed_again(photos: Shop, serve: Serve, size: int | None) -> None:
    client = serve()
    client.wait(lambda state: state["ready"])
    params = {} if size is None else {"size": size}
    reply = client.get(product_path(IDS[2], "image"), params=params, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in reply.headers
