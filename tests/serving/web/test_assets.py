"""How the page's files are sent: compressed, and kept for as long as their name says."""

from __future__ import annotations

import gzip
import html
import json
import re
from pathlib import Path

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.web.page import STATIC, WIDGET
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop


@pytest.fixture
def version(client: Client) -> str:
    found = re.search(r'"static/(\w{12})/app.js"', client.get("/").text)
    assert found
    return found[1]


@pytest.mark.parametrize("name", sorted(file.name for file in STATIC.iterdir()))
def test_each_is_served(client: Client, version: str, name: str) -> None:
    response = client.get(f"/static/{version}/{name}")
    assert response.status_code == 200
    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_compressed_for_those_who_read_it(client: Client, version: str) -> None:
    path = f"/static/{version}/style.css"
    whole = (STATIC / "style.css").read_bytes()
    for accepted, coding in (("gzip, br", "gzip"), ("identity", None), ("gzip;q=0", None), ("br", None)):
        response = client.get(path, headers={"accept-encoding": accepted})
        assert response.headers.get("content-encoding") == coding
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.content == whole  # httpx has unpacked it
        assert int(response.headers["content-length"]) == len(gzip.compress(whole, 9) if coding else whole)


@pytest.mark.parametrize("path", ["/", "/static/app.js"])
def test_what_has_a_name_for_ever_is_asked_again(client: Client, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"if-none-match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_the_version_of_another_server_is_answered_and_not_kept(client: Client) -> None:
    response = client.get("/static/0123456789ab/app.js")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["", "nothing.js", "a/b/app.js", "../page.py", "%2e%2e/page.py", "tsconfig.json"])
def test_there_is_nothing_else(client: Client, path: str) -> None:
    response = client.get(f"/static/{path}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_other_sites_may_load_the_widget_alone(client: Client, version: str) -> None:
    policies = {
        name: client.get(f"/static/{version}/{name}").headers["cross-origin-resource-policy"]
        for name in (WIDGET, "app.js")
    }
    assert policies == {WIDGET: "cross-origin", "app.js": "same-origin"}


@pytest.mark.parametrize("path", ["/", "/console"])
def test_pages_know_the_limits_of_their_server(served: tuple[Shop, Client], path: str) -> None:
    shop, client = served
    found = re.search(r'name="limits" content="([^"]*)"', client.get(path).text)
    assert found
    limits = client.runtime.settings.limits
    assert json.loads(html.unescape(found[1])) == {
        "k": limits.max_k,
        "offset": limits.max_offset,
        "examples": limits.max_examples,
        "queries": limits.max_queries,
        "facets": limits.max_facets,
        "words": True,
    }
    with running(create_app(Runtime(make_settings(shop.folder, limits={"max_k": 7})))) as other:
        assert "&quot;k&quot;: 7," in other.get(path).text


def test_the_page_knows_that_a_snapshot_has_no_words(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    with running(create_app(Runtime(make_settings(tmp_path)))) as client:
        assert "&quot;words&quot;: true" in client.get("/").text  # nobody knows yet
        shop.words = None
        shop.publish(4)
        client.wait(lambda state: state["ready"])
        assert "&quot;words&quot;: false" in client.get("/").text
