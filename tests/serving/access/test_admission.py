"""Admission, for any gateway; and which address takes what: each spelling of one is judged as the router takes it.

The table of addresses is the REST gateway's, and that of operations the policy's: here they are judged together.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from lookalike.serving.access.admission import AccessRequest, Admission, Operation, Policy
from lookalike.serving.access.audit import Audit
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.asgi import route_path, server_port
from lookalike.serving.context import AccessScope, RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.requests import operation_of
from lookalike.serving.settings import Access, Rates
from lookalike.serving.telemetry.metrics import Metrics
from tests.support.client import Client

SECONDS = 7.0

SEARCH, ADMIN = AccessScope.SEARCH, AccessScope.ADMIN
POLICY = Policy(required=True)


@pytest.fixture
def key(tmp_path: Path) -> str:
    stored, text = create_key("shop", [AccessScope.SEARCH])
    add_key(tmp_path / "keys.json", stored)
    return text


@pytest.fixture
def admission(tmp_path: Path, key: str) -> Admission:
    metrics = Metrics()
    return Admission(
        Policy(required=True, admin_port=9000),
        Authenticator(Access(keys_file=tmp_path / "keys.json"), metrics),
        RateLimits(Rates(per_key=1, burst=4)),
        Audit(metrics),
        metrics,
        seconds=SECONDS,
    )


def admit(admission: Admission, asked: AccessRequest, request: RequestContext | None = None) -> RequestContext:
    return asyncio.run(admission.admit(asked, request))


def test_an_admitted_request_has_a_caller_an_address_and_a_deadline(admission: Admission, key: str) -> None:
    request = RequestContext(id="mine")
    before = time.monotonic()
    admitted = admit(admission, AccessRequest(Operation.SEARCH, (key,), "192.0.2.1"), request)
    assert admitted is request
    assert (request.caller.name, request.address, request.id) == ("shop", "192.0.2.1", "mine")
    assert before + SECONDS <= request.deadline <= time.monotonic() + SECONDS


@pytest.mark.parametrize(
    ("operation", "code"), [(Operation.ADMIN, "not_found"), (Operation.METRICS, "not_found"), (Operation.PROBE, None)]
)
def test_operations_of_the_port_for_administration(
    admission: Admission, key: str, operation: Operation, code: str | None
) -> None:
    asked = AccessRequest(operation, (key,), port=8000)
    if code is None:
        assert admit(admission, asked).caller.kind == "anonymous"
        return
    with pytest.raises(ProblemError) as caught:
        admit(admission, asked)
    assert caught.value.code == code


def test_a_cost_counts_as_so_many_requests(admission: Admission, key: str) -> None:
    request = admit(admission, AccessRequest(Operation.SEARCH, (key,), cost=2))
    admission.charge(request, 1)
    admission.charge(request, 0)
    with pytest.raises(RefusedError) as caught:
        admission.charge(request, 2)
    assert (caught.value.code, caught.value.reason) == ("rate_limited", "key_rate")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1
    admission.charge(request, 1)  # what was refused was not taken


def test_a_refusal_is_counted_and_leaves_no_caller(admission: Admission) -> None:
    request = RequestContext()
    with pytest.raises(RefusedError) as caught:
        admit(admission, AccessRequest(Operation.SEARCH, ("a", "b"), "192.0.2.1"), request)
    assert caught.value.reason == "several_credentials"
    assert (request.caller.scopes, request.address) == (frozenset(), "192.0.2.1")


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
