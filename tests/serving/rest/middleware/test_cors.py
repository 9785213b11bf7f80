from __future__ import annotations

import httpx
import pytest
from pydantic import ValidationError

from lookalike.serving.settings import Web
from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.shop import Shop

SHOP = "https://shop.example"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def preflight(client: Client, origin: str, **headers: str) -> httpx.Response:
    return client.request("OPTIONS", "/v1/search", headers={"Origin": origin, **ASKED, **headers})


@pytest.fixture
def open_to_shop(shop: Shop, serve: Serve) -> Client:
    return serve(web={"cors_origins": f"{SHOP}, http://localhost:3000"})


def allowed(response: httpx.Response) -> str | None:
    origin: str | None = response.headers.get("access-control-allow-origin")
    return origin


def test_closed_by_default(client: Client) -> None:
    assert allowed(preflight(client, SHOP)) is None
    assert allowed(client.get("/livez", headers={"Origin": SHOP})) is None


def test_named_sites_may_ask(open_to_shop: Client) -> None:
    for origin in (SHOP, "http://localhost:3000"):
        response = preflight(open_to_shop, origin)
        assert (response.status_code, allowed(response)) == (200, origin)
        assert "authorization" in response.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in response.headers
    response = open_to_shop.get("/livez", headers={"Origin": SHOP})
    assert allowed(response) == SHOP
    assert "Retry-After" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null", f"{SHOP}:444"],
)
def test_no_other_may(open_to_shop: Client, origin: str) -> None:
    response = preflight(open_to_shop, origin)
    assert (response.status_code, response.json()["code"]) == (403, "cross_origin_refused")
    assert response.headers["content-type"] == "application/problem+json"
    assert allowed(response) is None
    assert allowed(open_to_shop.get("/livez", headers={"Origin": origin})) is None


def test_only_what_the_interface_takes(open_to_shop: Client) -> None:
    assert preflight(open_to_shop, SHOP, **{"Access-Control-Request-Method": "DELETE"}).status_code == 403
    assert preflight(open_to_shop, SHOP, **{"Access-Control-Request-Headers": "x-evil"}).status_code == 403


def test_a_page_can_read_why_it_was_refused(shop: Shop, serve: Serve) -> None:
    client = serve(web={"cors_origins": SHOP}, access={"keys": '{"keys": []}'})
    assert preflight(client, SHOP).status_code == 200  # browsers send no key with it
    response = client.post("/v1/search", headers={"Origin": SHOP}, json={})
    assert (response.status_code, allowed(response)) == (401, SHOP)


@pytest.mark.parametrize("origins", ["shop.example", "https://shop.example/", "https://shop.example/path", "https://"])
def test_what_is_no_origin_is_said_at_once(origins: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Web(cors_origins=origins)
