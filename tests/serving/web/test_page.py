"""What the page is made of: no markup from products, nothing from elsewhere, types that fit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lookalike.serving.web.page import STATIC, WIDGET
from tests.support.client import Client

SCRIPTS = sorted(STATIC.glob("*.js"))
PACKAGES = Path(__file__).parents[3] / "clients" / "typescript"
VISIT = 120_000
"""Bytes of all files of the page on the wire, for who comes the first time."""


def test_the_page_obeys_a_strict_policy(client: Client) -> None:
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    html = response.text
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", html)
    scripts = re.findall(r"<script(.*?)>(.*?)</script>", html)
    assert [re.sub("[0-9a-f]{12}", "VERSION", tag) for tag, _ in scripts] == [
        ' src="static/VERSION/view.js"',
        ' src="static/VERSION/app.js" type="module"',
    ]
    assert [inside for _, inside in scripts] == ["", ""]


def test_all_modules_are_asked_for_at_once(client: Client) -> None:
    """Else each is found only when the one before it was read."""
    named = set(re.findall(r'"static/[0-9a-f]{12}/(\w+\.js)"', client.get("/").text))
    assert named == {"view.js", *find_modules("app.js")}


def find_modules(name: str) -> set[str]:
    """Return a module and those that it needs, and those that they need."""
    imported = re.findall(r'from "\./(\w+\.js)"', (STATIC / name).read_text())
    return {name}.union(*(find_modules(one) for one in imported))


def test_a_first_visit_is_small(client: Client) -> None:
    page = client.get("/", headers={"accept-encoding": "gzip"})
    files = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
    assert len(files) > 10
    sent = [client.get("/" + file, headers={"accept-encoding": "gzip"}) for file in files]
    assert {response.status_code for response in sent} == {200}
    assert sum(int(response.headers["content-length"]) for response in (page, *sent)) < VISIT


def test_nothing_comes_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""(src|href|url|import|fetch|from)\W{1,3}(https?:)?//""", text), file


def test_what_a_catalogue_says_never_becomes_markup() -> None:
    for file in SCRIPTS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|DOMParser|eval\(|new Function",
            file.read_text(),
        ), file


def test_a_key_stays_in_its_tab_and_is_sent_to_this_server_only() -> None:
    scripts = {file.name: file.read_text() for file in SCRIPTS if file.name != WIDGET}
    assert not re.search(r"localStorage|document\.cookie|indexedDB", "".join(scripts.values()))
    assert [name for name, text in scripts.items() if re.search(r"[^a-z]fetch\(", text)] == ["api.js"]
    assert len(re.findall(r"fetch\(", scripts["api.js"])) == 1
    html = (STATIC / "index.html").read_text()
    assert re.search(r'<input id="key" type="password" autocomplete="off"', html)


@pytest.mark.system
@pytest.mark.slow
def test_types_fit(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    wanted = json.loads((PACKAGES / "package-lock.json").read_text())["packages"]["node_modules/typescript"]["version"]
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), f"typescript@{wanted}"]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode:
        pytest.skip(f"npm cannot install TypeScript: {done.stderr[-300:]}")
    check = [str(tmp_path / "node_modules" / ".bin" / "tsc"), "--project", str(STATIC.parent / "tsconfig.json")]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout
