from __future__ import annotations

import os
import re
from contextlib import closing

import pytest
from playwright.sync_api import Browser, expect

from lookalike.serving.web import docs
from lookalike.serving.web.docs import FILES, SWAGGER
from lookalike.serving.web.page import STATIC
from tests.support.client import Client


def test_the_page_obeys_a_strict_policy() -> None:
    policy = docs.write_docs().headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(r"https?:|<style|\sstyle=|\son\w+=|<script>", (STATIC / "docs.html").read_text())


def test_it_is_there_even_where_the_package_is_not(client: Client) -> None:
    response = client.get("/docs")
    assert response.status_code == 200
    assert "openapi.json" in response.text


@pytest.mark.parametrize("name", ["main.py", "__init__.py", "..%2Fmain.py", "swagger-ui.css.map"])
def test_no_other_file_of_the_package_is_served(client: Client, name: str) -> None:
    assert client.get(f"/static/swagger-ui/{name}").status_code == 404


def test_the_package_is_not_imported() -> None:
    import sys

    assert docs.PACKAGE not in sys.modules


def require_swagger() -> None:
    """Skip the test where `make setup` has not yet installed what `/docs` shows."""
    if len(SWAGGER) == len(FILES):
        return
    if os.environ.get("CI") == "true":
        pytest.fail("there is no Swagger UI: run `make setup`")
    pytest.skip("there is no Swagger UI")


@pytest.mark.slow
@pytest.mark.services
def test_docs_are_drawn_without_another_host(browser: Browser, shop_url: str) -> None:
    require_swagger()
    asked: list[str] = []
    said: list[str] = []
    with closing(browser.new_page(base_url=shop_url)) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto("/docs")
        routes = page.locator(".opblock")
        document = page.request.get("/openapi.json").json()
        expect(routes).to_have_count(sum(len(methods) for methods in document["paths"].values()))
        route = page.locator("#operations-products-productImage")
        route.locator(".opblock-summary-control").click()
        route.get_by_role("button", name="Try it out").click()
        route.get_by_placeholder("product_id").fill("p1")
        route.get_by_role("button", name="Execute").click()
        picture_shown = route.locator(".live-responses-table img")
        expect(picture_shown).to_be_visible()
        page.wait_for_function("image => image.naturalWidth > 0", arg=picture_shown.element_handle())
    assert said == [], "the policy forbids something that the page does"
    assert {address for address in asked if not address.startswith((f"{shop_url}/", "blob:", "data:"))} == set()
    assert f"{shop_url}/v1/products/p1/image" in {address.partition("?")[0] for address in asked}
