"""Below a path of a shop's site: the setting, and what only a trusted proxy may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.shop import Shop, picture

IMAGE = "/v1/products/a/image"
PREFIX = {"X-Forwarded-Prefix": "/visual"}


@pytest.fixture
def behind(shop: Shop, serve: Serve) -> Client:
    shop.publish(8)
    client = serve(root_path="/shop/visual")
    client.wait(lambda state: state["ready"])
    return client


@pytest.mark.parametrize("path", ["", "/shop/visual"], ids=["taken off", "left"])
def test_the_setting_names_the_path(behind: Client, path: str) -> None:
    hit = behind.get(f"{path}/v1/products/a").json()
    assert hit["image_url"] == f"/shop/visual{IMAGE}"
    assert behind.get(hit["image_url"]).content == picture(1)
    assert behind.get(f"{path}/").status_code == 200
    assert behind.get(f"{path}/static/app.js").status_code == 200
    assert behind.get(f"{path}/openapi.json").json()["servers"] == [{"url": "/shop/visual"}]


def test_all_replies_name_pictures_below_the_path(behind: Client) -> None:
    listed = behind.get("/v1/products").json()["products"]
    searched = behind.search(product_id="a").json()["hits"]
    similar = behind.get("/v1/products/a/similar").json()["hits"]
    batch = behind.post("/v1/search/batch", json={"queries": [{"product_id": "a"}]}).json()["results"][0]["hits"]
    for hit in (*listed, *searched, *similar, *batch):
        assert hit["image_url"].startswith("/shop/visual/v1/products/")


def test_a_path_that_only_begins_alike_is_another(behind: Client) -> None:
    assert behind.get("/shop/visualise/v1/products/a").status_code == 404
    assert behind.get("/shop/visual/shop/visual/v1/products/a").status_code == 404


def test_only_a_trusted_proxy_names_a_path(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    for trusted, prefix in ((None, ""), ("192.0.2.0/24", ""), ("127.0.0.1", "/visual")):
        client = serve(trusted_proxies=trusted)
        client.wait(lambda state: state["ready"])
        found = client.get("/v1/products/a", headers=PREFIX).json()
        assert found["image_url"] == f"{prefix}{IMAGE}", trusted


@pytest.mark.parametrize(
    "given", ["//evil.example", "/a b", "visual", "/a/../b?", "/<script>", "https://evil.example", "/"]
)
def test_a_prefix_that_is_no_path_is_ignored(shop: Shop, serve: Serve, given: str) -> None:
    shop.publish(8)
    client = serve(trusted_proxies="127.0.0.1")
    client.wait(lambda state: state["ready"])
    assert client.get("/v1/products/a", headers={"X-Forwarded-Prefix": given}).json()["image_url"] == IMAGE


def test_administration_stays_closed_below_a_path(shop: Shop, serve: Serve, tmp_path: Path) -> None:
    shop.publish(8)
    client = serve(root_path="/v1", admin_port=9999)
    for path in ("/v1/admin/reload", "/v1/v1/admin/reload", "/v1/metrics", "/metrics"):
        assert client.post(path).status_code in {403, 404, 405}, path
