"""The authenticator: turns what a caller sent into a caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from lookalike.serving.access.keys import PREFIX, KeyFault, KeySource, claimed_id
from lookalike.serving.access.refusals import unauthorized
from lookalike.serving.context import Caller
from lookalike.serving.settings import Access
from lookalike.serving.telemetry.metrics import Metrics

_HOW = "Send an API key as `Authorization: Bearer lk_…` or as `X-API-Key`; whoever runs the server makes you one."


class Authenticator:
    """Knows API keys, and tokens where an issuer is set."""

    def __init__(self, access: Access, metrics: Metrics) -> None:
        """Read the keys. Raises `InputError` where they cannot be read."""
        self.required = access.required
        self._keys = KeySource(access, metrics)
        self._tokens = None
        if access.jwt_issuer and access.jwt_audience:
            from lookalike.serving.access.tokens import (  # noqa: PLC0415 - cryptography is for those who use tokens
                Issuer,
                Tokens,
            )

            self._issuer = Issuer(access.jwt_issuer, metrics)
            self._tokens = Tokens(self._issuer, access)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return what keeps keys fresh, by name, each to be run for ever."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {"keys": self._keys.run}
        return {**tasks, "issuer": self._issuer.run} if self._tokens else tasks

    async def identify(self, sent: Sequence[str]) -> Caller:
        """Return who sent these keys and tokens, of which there must be one. Raises `RefusedError`."""
        if not sent:
            raise unauthorized("no_credentials", _HOW)
        if len(sent) > 1:
            raise unauthorized("several_credentials", "There is more than one key or token: send only one.")
        if self._tokens is not None and sent[0].count(".") == 2 and not sent[0].startswith(PREFIX):
            return await self._tokens.identify(sent[0])
        return self._by_key(sent[0])

    def _by_key(self, text: str) -> Caller:
        found = self._keys.ring.find(text, datetime.now(UTC))
        if found is KeyFault.EXPIRED:
            raise unauthorized(found, "This API key has expired: ask for a new one.", claimed=claimed_id(text))
        if isinstance(found, KeyFault):
            raise unauthorized(found, f"This API key is not valid. {_HOW}", claimed=claimed_id(text))
        return Caller("key", found.id, found.name, frozenset(found.scopes))
