"""Admission for any gateway: credentials, an address, an operation and a cost go in, and no protocol is known."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from lookalike.serving.access.admission import AccessRequest, Admission, Operation, Policy
from lookalike.serving.access.audit import Audit
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.context import AccessScope, RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.settings import Access, Rates
from lookalike.serving.telemetry.metrics import Metrics

SECONDS = 7.0


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
