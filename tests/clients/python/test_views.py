"""Hits of products with several pictures: which one is the nearest, and how each of them is asked for."""

from __future__ import annotations

import httpx2

from lookalike_client import Client, RetryPolicy

HITS = [
    {"id": "a", "title": "A", "attributes": {}, "image_url": "/v1/products/a/image?view=3", "score": 0.9, "view": 3},
    {"id": "b", "title": "B", "attributes": {}, "image_url": "/v1/products/b/image", "score": 0.8},
]


def test_a_hit_shows_the_nearest_picture_and_others_on_request() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.raw_path.decode())
        if request.url.path == "/v1/search":
            return httpx2.Response(200, json={"snapshot": "s", "took_ms": 1.0, "hits": HITS})
        if request.url.path.endswith("/image"):
            return httpx2.Response(200, content=b"picture")
        return httpx2.Response(200, json={**HITS[0], "pictures": 4, "snapshot": "s"})

    with Client("http://shop", retry=RetryPolicy(0), transport=httpx2.MockTransport(answer)) as client:
        several, one = client.search(product="x", combine="best")
        assert (several.view, one.view) == (3, None)
        assert client.product("a").pictures == 4
        asked.clear()
        several.image(size=64)
        several.image(view=1)
        one.image()
        client.image("a", view=2)
    assert asked == [
        "/v1/products/a/image?size=64&view=3",
        "/v1/products/a/image?view=1",
        "/v1/products/b/image",
        "/v1/products/a/image?view=2",
    ]
