"""Refusals: a request that ends before its body is read."""

from __future__ import annotations

from lookalike.serving.access.keys import KeyFault
from lookalike.serving.context import AccessScope
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
    """Access is refused.

    Attributes:
        reason: one of `REASONS`.
        claimed: who the caller said to be, never a secret.
        scope: the scope that was missing, where that is the reason.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        reason: str,
        claimed: str = "-",
        scope: AccessScope | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, detail, retry_after=retry_after)
        self.reason = reason
        self.claimed = claimed
        self.scope = scope


def unauthorized(reason: str, detail: str, *, claimed: str = "-") -> RefusedError:
    """Return the refusal of somebody who did not prove who they are."""
    return RefusedError("unauthorized", detail, reason=reason, claimed=claimed)


def missing_scope(needed: AccessScope, claimed: str) -> RefusedError:
    """Return the refusal of somebody who is known, but may not do this."""
    detail = f"This takes the scope `{needed}`, which your key or token does not have."
    return RefusedError("forbidden", detail, reason="missing_scope", claimed=claimed, scope=needed)
