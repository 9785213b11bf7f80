from __future__ import annotations

import re

import pytest

from lookalike.serving.web import docs
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
