"""Rates: how often one key or one address may ask. GCRA, a token bucket in one number, from `throttled-py`.

Each worker process counts for itself, and each counter is in memory: at most `MAX_KNOWN` of them, those that asked
least lately are forgotten first.
"""

from __future__ import annotations

import ipaddress
import math

from throttled import MemoryStore, RateLimiterType, Throttled, per_min

from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.context import Caller
from lookalike.serving.settings import Rates

MAX_KNOWN = 16_384


class Bucket:
    """One limit for any number of names."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self._throttle = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=per_min(per_minute, burst=burst),
            store=MemoryStore(options={"MAX_SIZE": MAX_KNOWN}),
        )

    def take(self, name: str, cost: int = 1) -> float:
        """Take so many from the bucket of `name`; return 0, or the seconds until they are there to take."""
        result = self._throttle.limit(name, cost=cost)
        return max(0.001, result.state.retry_after) if result.limited else 0.0


class RateLimits:
    """Callers with a key or a token are counted by it, all others by their address."""

    def __init__(self, rates: Rates) -> None:
        self._keys = Bucket(rates.per_key, rates.burst) if rates.per_key else None
        self._addresses = Bucket(rates.per_address, rates.burst) if rates.per_address else None

    def check(self, caller: Caller | None, address: str, cost: int = 1) -> None:
        """Count a request as `cost`. Raises `RefusedError` where it is too much; without proof `caller` is None."""
        known = None if caller is None or caller.kind == "anonymous" else caller
        bucket, reason = (self._keys, "key_rate") if known else (self._addresses, "address_rate")
        if bucket is None:
            return
        wait = bucket.take(f"{known.kind} {known.id}" if known else network(address), cost)
        if wait:
            seconds = math.ceil(wait)
            detail = f"You ask more often than you may: try again in {seconds} seconds."
            claimed = caller.id if caller else "-"
            raise RefusedError("rate_limited", detail, reason=reason, claimed=claimed, retry_after=seconds)


def network(address: str) -> str:
    """Return what one customer of a provider has: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
