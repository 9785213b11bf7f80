"""What the command line says to a server, and of settings that cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lookalike.cli import cli
from tests.support.shop import picture
from tests.support.sites import Page, Site, answer, running

ANSWER = json.dumps({"snapshot": "s", "hits": [{"id": "a", "score": 0.5, "title": "A"}]}).encode()


class Posts(Site):
    """Answers what is posted, too."""

    def __init__(self) -> None:
        super().__init__()
        visitor = self.RequestHandlerClass
        visitor.do_POST = visitor.do_GET  # type: ignore[attr-defined]


def search(tmp_path: Path, site: Site) -> Result:
    (tmp_path / "query.png").write_bytes(picture(0))
    address = f"http://127.0.0.1:{site.port}"
    return CliRunner().invoke(cli, ["search", str(tmp_path / "query.png"), "--url", address, "--output", "json"])


def test_the_key_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Posts()) as site:
        site.pages["/v1/search"] = [answer(ANSWER)]
        assert search(tmp_path, site).exit_code == 0
        monkeypatch.setenv("LOOKALIKE_API_KEY", "lk_secret")
        found = search(tmp_path, site)
    assert (found.exit_code, json.loads(found.stdout)["snapshot"]) == (0, "s")
    without, given = (headers for _, _, headers in site.requests)
    assert "Authorization" not in without
    assert given["Authorization"] == "Bearer lk_secret"


def test_the_key_is_not_sent_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_API_KEY", "lk_secret")
    with running(Posts()) as site, running(Posts()) as other:
        other.pages["/there"] = [answer(ANSWER)]
        site.pages["/v1/search"] = [answer(b"", 302, Location=f"http://127.0.0.1:{other.port}/there")]
        search(tmp_path, site)
    assert all("Authorization" not in headers for _, _, headers in other.requests)
    assert "lk_secret" not in str(other.requests)


def refusal(code: str, status: int, **headers: str) -> Page:
    body = json.dumps({"code": code, "status": status, "detail": "No."}).encode()
    return answer(body, status, Connection="close", **headers)


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [("unauthorized", 401, 2), ("bad_filter", 422, 2), ("rate_limited", 429, 1), ("internal", 500, 1)],
)
def test_an_error_has_its_code(tmp_path: Path, code: str, status: int, exit_code: int) -> None:
    with running(Posts()) as site:
        site.pages["/v1/search"] = [refusal(code, status, Retry_After="100")]
        found = search(tmp_path, site)
    assert (found.exit_code, found.stderr.split(" answered ")[1]) == (exit_code, f"{code}: No.\n")


def test_a_server_that_restarts_is_asked_again(tmp_path: Path) -> None:
    with running(Posts()) as site:
        site.pages["/v1/search"] = [refusal("stopping", 503), refusal("not_ready", 503), answer(ANSWER)]
        assert search(tmp_path, site).exit_code == 0
        assert len(site.requests) == 3


def test_without_the_client_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lookalike_client", None)
    with running(Posts()) as site:
        found = search(tmp_path, site)
    assert found.exit_code == 2
    assert "pip install lookalike-client" in found.stderr


@pytest.mark.parametrize("address", ["shop.example", "http://me:secret@shop.example"])
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    (tmp_path / "query.png").write_bytes(picture(0))
    found = CliRunner().invoke(cli, ["search", str(tmp_path / "query.png"), "--url", address])
    assert found.exit_code == 2
    assert "--url" in found.stderr
    assert "secret" not in found.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LIMITS__MAX_K", "0", "LOOKALIKE_LIMITS__MAX_K cannot be used: Input should be greater than or equal to 1"),
        ("LOG_LEVEL", "loud", "LOOKALIKE_LOG_LEVEL cannot be used"),
        ("POLL_SECONDS", "often", "LOOKALIKE_POLL_SECONDS cannot be used"),
        ("PORT", "http", "LOOKALIKE_PORT cannot be used"),
        ("ADMIN_PORT", "8000", "the settings do not fit together: admin_port must be another port than port"),
        ("ACCESS__JWT_ISSUER", "https://id.example", "LOOKALIKE_ACCESS cannot be used: set both jwt_issuer"),
        (
            "WEB__CORS_ORIGINS",
            "shop.example",
            "LOOKALIKE_WEB__CORS_ORIGINS cannot be used: 'shop.example' is",
        ),
        ("LIMITS", "many", 'a setting cannot be read: error parsing value for field "limits"'),
        ("URLS__ALLOWED_HOSTS", "http://a/b", "the settings do not fit together: urls: allowed_hosts"),
    ],
)
def test_a_bad_setting_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    result = CliRunner().invoke(cli, ["serve", "--store", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert "pydantic" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_kubernetes_service_link_is_no_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKALIKE_PORT", "tcp://10.0.0.7:80")
    monkeypatch.setenv("LOOKALIKE_LIMITS__MAX_K", "0")  # so that it does not begin to serve
    result = CliRunner().invoke(cli, ["serve", "--store", str(tmp_path)])
    assert "LIMITS__MAX_K" in result.stderr
    assert "PORT" not in result.stderr
