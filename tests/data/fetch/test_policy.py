"""What may be fetched, as settings say it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from lookalike.data.errors import InputError
from lookalike.data.fetch.addresses import normal_host
from lookalike.data.fetch.policy import FetchPolicy
from tests.support.sites import certificates


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(certificates(tmp_path_factory.mktemp("certificates"), "pictures.test")[0])


@pytest.mark.parametrize(
    ("patterns", "host", "allowed"),
    [
        (("cdn.example.com",), "CDN.example.com.", True),
        (("CDN.Example.com.",), "cdn.example.com", True),
        (("cdn.example.com",), "a.cdn.example.com", False),
        (("cdn.example.com",), "example.com", False),
        (("*.example.com",), "a.b.example.com", True),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), "evilexample.com", False),
        (("*.example.com",), "example.com.evil.test", False),
        (("*.bücher.example",), "bilder.xn--bcher-kva.example", True),
        (("[::1]",), "[0:0::1]", True),
        ((), "cdn.example.com", False),
    ],
)
def test_hosts_that_are_allowed(patterns: tuple[str, ...], host: str, allowed: bool) -> None:
    assert FetchPolicy(allowed_hosts=patterns).allows_host(normal_host(host)) is allowed


def test_a_policy_travels(ca_file: str) -> None:
    here = FetchPolicy(
        allowed_hosts=("CDN.Example.com", "*.bücher.example"), allowed_networks=("10.0.0.0/8",), ca_file=ca_file
    )
    there = pickle.loads(pickle.dumps(here))
    assert there == here
    assert hash(there) == hash(here)
    assert there.allowed_hosts == ("cdn.example.com", "*.xn--bcher-kva.example")
    assert replace(there, allowed_hosts=["a.test"]).allowed_hosts == ("a.test",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allowed_hosts": ("https://cdn.example.com",)}, "without scheme"),
        ({"allowed_hosts": ("cdn.example.com:8443",)}, "without scheme and port"),
        ({"allowed_hosts": ("cdn.example.com/pictures",)}, "allowed_hosts"),
        ({"allowed_hosts": ("",)}, "allowed_hosts"),
        ({"allowed_hosts": ("*",)}, "allowed_hosts"),
        ({"allowed_hosts": ("*.",)}, "allowed_hosts"),
        ({"allowed_hosts": ("cdn.*.com",)}, "allowed_hosts"),
        ({"allowed_hosts": ("127.1",)}, "allowed_hosts"),
        ({"allowed_hosts": "cdn.example.com"}, "give a list"),
        ({"allowed_networks": ("10.0.0.1/8",)}, "such as 10.1.0.0/16"),
        ({"allowed_networks": ("10.0.0.0/33",)}, "allowed_networks"),
        ({"allowed_networks": ("intranet",)}, "allowed_networks"),
        ({"allowed_ports": (0,)}, "allowed_ports"),
        ({"allowed_ports": (70000,)}, "allowed_ports"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"connect_seconds": 0}, "connect_seconds"),
        ({"total_seconds": -1}, "total_seconds"),
        ({"total_seconds": float("nan")}, "total_seconds"),
        ({"total_seconds": float("inf")}, "total_seconds"),
        ({"max_redirects": -1}, "max_redirects"),
        ({"retries": -1}, "retries"),
        ({"ca_file": "/no/such/file.pem"}, "CA certificates"),
        ({"ca_file": __file__}, "CA certificates"),
    ],
)
def test_policies_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FetchPolicy(**changes)
