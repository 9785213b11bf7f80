from __future__ import annotations

import re

import httpx
import pytest
from pydantic import ValidationError

from lookalike.serving.settings import Web
from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.shop import Shop

SHOP = "https://shop.example"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/v1/products", "/livez", "/static/app.js", "/nowhere"]
)
def test_every_answer_is_guarded(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "strict-transport-security" not in headers


def test_https_is_insisted_on_by_setting_only(shop: Shop, serve: Serve) -> None:
    headers = serve(web={"hsts_seconds": 600}).get("/").headers
    assert headers["strict-transport-security"] == "max-age=600"


def test_a_picture_may_be_shown_by_others_and_do_nothing(client: Client) -> None:
    headers = client.get("/v1/products/a/image").headers
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/v1/search/", "/docs/", "/v1/snapshots/", "/static", "/livez/"])
def test_nobody_is_sent_to_where_a_header_says(client: Client, path: str) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, path, headers={"host": "evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "location" not in answer.headers
        assert "evil.example" not in answer.text


PATHS = ["/", "/docs", "/livez", "/readyz", "/static/app.js", "/v1/products/a", "/v1/products/a/image", "/v1/products"]


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_as_get_without_a_body(client: Client, path: str) -> None:
    whole, bare = client.get(path), client.request("HEAD", path)
    assert (bare.status_code, bare.content) == (200, b"")
    changing = {"x-request-id", "date"} | ({"content-length"} if path == "/readyz" else set())  # a proof has an age
    assert without(whole, changing) == without(bare, changing)
    assert int(whole.headers["content-length"]) > 0
    known = {"if-none-match": whole.headers.get("etag", "none")}
    assert client.request("HEAD", path, headers=known).status_code == client.get(path, headers=known).status_code


def without(response: httpx.Response, names: set[str]) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in names}


def test_head_is_refused_where_get_is(client: Client) -> None:
    refused = client.request("HEAD", "/v1/search/batch")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")
    assert client.request("HEAD", "/nowhere").status_code == 404
    assert client.post("/livez").headers["allow"] == "GET, HEAD"
    assert client.request("HEAD", "/livez").status_code == 200
    assert 'method="HEAD",route="/livez",status="200"' in client.get("/metrics").text


def test_a_refused_method_is_told_all_that_its_address_takes(client: Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    expected = {re.sub(r"{\w+}", "a", path): {method.upper() for method in one} for path, one in described.items()}
    expected |= {path: {"GET"} for path in ("/", "/console", "/docs", "/problems", "/openapi.json", "/static/app.js")}
    assert expected["/v1/search"] == {"GET", "POST"}
    for path, own in expected.items():
        methods = own | ({"HEAD"} if "GET" in own else set())
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PURGE"} - methods:
            refused = client.request(method, path)
            assert (refused.status_code, refused.headers["allow"]) == (405, ", ".join(sorted(methods))), (method, path)
            if method != "HEAD":
                assert refused.json()["detail"].endswith(f"use {refused.headers['allow']}.")


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
