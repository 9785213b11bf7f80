"""Behind a real nginx that serves this below a path of a shop's site."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from lookalike.infra.demo.processes import free_port
from tests.support.client import wait_for
from tests.support.processes import server
from tests.support.shop import Shop, picture

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIG = """
daemon off;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /visual/ {{
      proxy_pass http://127.0.0.1:{upstream}{path};
      proxy_set_header X-Forwarded-For $remote_addr;
      {header}
    }}
  }}
}}
"""
SAID = "proxy_set_header X-Forwarded-Prefix /visual;"

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx: apt-get install nginx-light"),
]


@contextmanager
def nginx(folder: Path, upstream: int, path: str, header: str) -> Iterator[str]:
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIG.format(folder=folder, port=port, upstream=upstream, path=path, header=header))
    process = subprocess.Popen([NGINX, "-c", str(file), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/visual/"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize(
    ("path", "header", "settings"),
    [
        ("/", SAID, {"LOOKALIKE_TRUSTED_PROXIES": "127.0.0.1"}),
        ("/", "", {"LOOKALIKE_ROOT_PATH": "/visual"}),
        ("", "", {"LOOKALIKE_ROOT_PATH": "/visual"}),
    ],
    ids=["the proxy says it", "a setting says it", "the proxy leaves the path"],
)
def test_page_pictures_and_description_are_below_the_path(
    shop: Shop, tmp_path: Path, path: str, header: str, settings: dict[str, str]
) -> None:
    shop.publish(8)
    with server(tmp_path, **settings) as running, nginx(tmp_path, running.port, path, header) as site:
        running.wait(lambda state: state["ready"])
        wait_for(lambda: _status(urljoin(site, "livez")), lambda status: status == 200)
        page = httpx.get(site).text
        assets = re.findall(r'"(static/\w+/(?:app.js|style.css|favicon.svg))"', page)
        assert len(assets) == 3
        for asset in assets:
            assert _status(urljoin(site, asset)) == 200
        assert '"openapi.json"' in httpx.get(urljoin(site, "docs")).text.replace("'", '"')
        assert httpx.get(urljoin(site, "openapi.json")).json()["servers"] == [{"url": "/visual"}]
        hits = httpx.post(urljoin(site, "v1/search"), files={"image": ("a.png", picture(1))}, data={"k": "8"}).json()
        address = urljoin(site, hits["hits"][0]["image_url"])
        assert address.startswith(site)
        assert httpx.get(address).content == picture(1)


def _status(url: str) -> int:
    try:
        return httpx.get(url).status_code
    except httpx.HTTPError:
        return 0
