from __future__ import annotations

import time

import pytest

from lookalike.serving.access import rates as module
from lookalike.serving.access.rates import Bucket, RateLimits, network
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.context import AccessScope, Caller, anonymous
from lookalike.serving.settings import Rates

SHOP = Caller("key", "aaaaaaaaaa", "shop", frozenset({AccessScope.SEARCH}))


def taken(limits: RateLimits, caller: Caller | None, address: str, tries: int) -> int:
    """Return how many of so many tries got through."""
    passed = 0
    for _ in range(tries):
        try:
            limits.check(caller, address)
        except RefusedError:
            continue
        passed += 1
    return passed


def test_a_burst_and_then_a_rate() -> None:
    bucket = Bucket(per_minute=600, burst=3)
    assert [bucket.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    wait = bucket.take("a")
    assert 0 < wait <= 0.1
    time.sleep(wait + 0.01)
    assert bucket.take("a") == 0.0
    assert bucket.take("b") == 0.0  # nobody pays for another


def test_keys_are_counted_wherever_they_come_from_and_addresses_without_a_key() -> None:
    limits = RateLimits(Rates(per_key=1, per_address=1, burst=2))
    assert taken(limits, SHOP, "192.0.2.1", 2) + taken(limits, SHOP, "192.0.2.2", 2) == 2
    assert taken(limits, anonymous(), "192.0.2.1", 5) == 2
    assert taken(limits, None, "192.0.2.1", 5) == 0  # failing to authenticate counts as the same address
    assert taken(limits, None, "192.0.2.3", 5) == 2


def test_a_token_is_no_key_of_the_same_name() -> None:
    limits = RateLimits(Rates(per_key=1, burst=1))
    same = Caller("token", SHOP.id, "", SHOP.scopes)
    assert (taken(limits, SHOP, "", 2), taken(limits, same, "", 2)) == (1, 1)


def test_no_limit_unless_set() -> None:
    assert taken(RateLimits(Rates()), SHOP, "192.0.2.1", 500) == 500


def test_a_refusal_says_when_to_come_back() -> None:
    limits = RateLimits(Rates(per_address=2, burst=1))
    limits.check(None, "192.0.2.1")
    with pytest.raises(RefusedError) as caught:
        limits.check(None, "192.0.2.1")
    assert (caught.value.code, caught.value.reason) == ("rate_limited", "address_rate")
    assert 25 <= (caught.value.retry_after or 0) <= 30


def test_many_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 100)
    bucket = Bucket(per_minute=1, burst=1)
    for number in range(1000):
        bucket.take(str(number))
    assert bucket.take("999") > 0  # known still
    assert bucket.take("1") == 0  # forgotten: it may ask again, and nothing grew


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("unix:", "unknown"),
        ("", "unknown"),
    ],
)
def test_what_counts_as_one_address(address: str, counted: str) -> None:
    assert network(address) == counted
