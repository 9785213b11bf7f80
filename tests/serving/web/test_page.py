from __future__ import annotations

import re

import pytest

from lookalike.serving.web.page import STATIC
from tests.support.client import Client


def test_the_page_obeys_a_strict_policy(client: Client) -> None:
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    html = response.text
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", html)
    assert re.findall(r"<script(.*?)>(.*?)</script>", html) == [(' src="static/app.js" defer', "")]


@pytest.mark.parametrize("name", ["style.css", "app.js", "favicon.svg"])
def test_its_files_are_served(client: Client, name: str) -> None:
    response = client.get(f"/static/{name}")
    assert response.status_code == 200
    assert response.headers["x-content-type-options"] == "nosniff"


def test_nothing_comes_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""(src|href|url|import|fetch)\W{1,3}(https?:)?//""", text), file


def test_what_a_catalogue_says_never_becomes_markup() -> None:
    script = (STATIC / "app.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)


def test_a_key_stays_in_its_tab_and_is_sent_to_this_server_only() -> None:
    script = (STATIC / "app.js").read_text()
    assert not re.search(r"localStorage|document\.cookie|indexedDB", script)
    assert len(re.findall(r"fetch\(", script)) == len(re.findall(r"fetch\(path, ", script)) == 2
    html = (STATIC / "index.html").read_text()
    assert re.search(r'<input id="key" type="password" autocomplete="off"', html)
