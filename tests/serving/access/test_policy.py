"""Which address takes what: every spelling that the router would take for an address is judged as that address.

The table of addresses is the REST gateway's, and that of operations the policy's: here they are judged together.
"""

from __future__ import annotations

from typing import Any

import pytest

from lookalike.serving.access.admission import Operation, Policy
from lookalike.serving.context import AccessScope
from lookalike.serving.rest.requests import operation_of, route_path, server_port
from tests.support.client import Client

SEARCH, ADMIN = AccessScope.SEARCH, AccessScope.ADMIN
POLICY = Policy(required=True)


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/", None),
        ("/docs", None),
        ("/problems", None),
        ("/openapi.json", None),
        ("/static/app.js", None),
        ("/livez", None),
        ("/readyz", None),
        ("/metrics", ADMIN),
        ("/metrics/", ADMIN),
        ("/metrics/summary", ADMIN),
        ("/v1/admin", ADMIN),
        ("/v1/admin/reload", ADMIN),
        ("/v1/admin/reload/", ADMIN),
        ("/v1/admin/anything/new", ADMIN),
        ("/v1/search", SEARCH),
        ("/v1/products/x/image", SEARCH),
        ("/v1/products/../admin/reload", SEARCH),  # no router tidies it: it is the product "../admin/reload"
        ("/staticx", SEARCH),
        ("/static", SEARCH),
        ("//", SEARCH),
        ("//v1/admin/reload", SEARCH),  # no route either
        ("/livez/", SEARCH),
        ("/something/new", SEARCH),
        ("", SEARCH),
    ],
)
def test_what_each_address_takes(path: str, needed: AccessScope | None) -> None:
    assert POLICY.needed_scope(operation_of(path)) is needed


def test_metrics_are_open_by_setting_on_a_port_of_their_own_and_without_keys() -> None:
    assert Policy(required=True, open_metrics=True).needed_scope(Operation.METRICS) is None
    assert Policy(required=True, admin_port=9).needed_scope(Operation.METRICS) is None
    assert Policy(required=False).needed_scope(Operation.METRICS) is None
    assert Policy(required=False).needed_scope(Operation.ADMIN) is ADMIN


def test_an_operation_that_somebody_adds_takes_the_scope_search() -> None:
    open_to_all = {operation for operation in Operation if POLICY.needed_scope(operation) is None}
    assert open_to_all == {Operation.PROBE, Operation.PAGE}


def test_every_route_is_open_only_on_purpose(client: Client) -> None:
    """A route that somebody adds takes a key, unless its address is added to the policy, and here."""
    described = set(client.get("/openapi.json").json()["paths"])
    assert {path for path in described if POLICY.needed_scope(operation_of(path)) is None} == {"/livez", "/readyz"}
    assert {"/v1/search", "/v1/admin/reload"} <= described


@pytest.mark.parametrize(
    ("port", "path", "here"),
    [
        (8000, "/v1/search", True),
        (8000, "/metrics", False),
        (8000, "/v1/admin/reload", False),
        (8000, "/livez", True),
        (9000, "/v1/search", False),
        (9000, "/", False),
        (9000, "/metrics", True),
        (9000, "/v1/admin/reload", True),
        (9000, "/readyz", True),
    ],
)
def test_each_port_has_its_own(port: int, path: str, here: bool) -> None:
    asked = scope(path, port)
    assert Policy(required=True, admin_port=9000).is_answered_at(server_port(asked), operation_of(path)) is here


def test_a_host_header_changes_no_port() -> None:
    asked = {**scope("/metrics", 8000), "headers": [(b"host", b"x:9000")]}
    assert not Policy(required=True, admin_port=9000).is_answered_at(server_port(asked), Operation.METRICS)


def test_a_mount_point_is_left_out_as_the_router_does() -> None:
    assert route_path({**scope("/shop/v1/admin/reload", 80), "root_path": "/shop"}) == "/v1/admin/reload"
    assert route_path(scope("/v1/admin/reload", 80)) == "/v1/admin/reload"


def scope(path: str, port: int) -> dict[str, Any]:
    return {"type": "http", "path": path, "root_path": "", "server": ("10.0.0.1", port), "headers": []}
