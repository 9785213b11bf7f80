"""Refusals: a request that ends before its body is read."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.serving.access.keys import KeyFault
from lookalike.serving.errors import ProblemError

REASONS = frozenset(
    {
        *KeyFault,
        "no_credentials", "several_credentials", "bad_token", "expired_token", "issuer_unavailable",
        "missing_scope", "not_local", "key_rate", "address_rate",
    }
)  # fmt: skip
"""Every reason there is: metrics count by it."""


class RefusedError(ProblemError):
    """Access is refused. `reason` is one of `REASONS`; `claimed` says who the caller said to be, never a secret."""

    def __init__(
        self, code: str, detail: str, *, reason: str, claimed: str = "-", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code, detail, headers=headers)
        self.reason = reason
        self.claimed = claimed


def unauthorized(reason: str, detail: str, *, claimed: str = "-") -> RefusedError:
    """Return the refusal of somebody who did not prove who they are."""
    error = "" if reason == "no_credentials" else ', error="invalid_token"'
    headers = {"www-authenticate": f'Bearer realm="lookalike"{error}'}
    return RefusedError("unauthorized", detail, reason=reason, claimed=claimed, headers=headers)


def missing_scope(needed: str, claimed: str) -> RefusedError:
    """Return the refusal of somebody who is known, but may not do this."""
    detail = f"This takes the scope `{needed}`, which your key or token does not have."
    challenge = f'Bearer realm="lookalike", error="insufficient_scope", scope="{needed}"'
    headers = {"www-authenticate": challenge}
    return RefusedError("forbidden", detail, reason="missing_scope", claimed=claimed, headers=headers)
