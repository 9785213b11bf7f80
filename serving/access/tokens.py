"""Tokens: JWTs of one issuer for one audience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from lookalike.data.errors import LookalikeError
from lookalike.serving.access.issuer import Issuer, SigningKey
from lookalike.serving.access.refusals import RefusedError, unauthorized
from lookalike.serving.context import AccessScope, Caller
from lookalike.serving.settings import Access

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric only: nobody who can verify a token can make one, and `none` is no algorithm."""
LEEWAY_SECONDS = 30
MAX_LENGTH = 8192
_REQUIRED = ["exp", "iss", "aud"]


class Tokens:
    """Verifies tokens. Raises `RefusedError` for any that does not prove who its caller is."""

    def __init__(self, issuer: Issuer, access: Access) -> None:
        self._issuer = issuer
        self._audience = access.jwt_audience
        self._scopes = {
            access.jwt_search_scope: AccessScope.SEARCH,
            access.jwt_admin_scope: AccessScope.ADMIN,
        }

    async def identify(self, token: str) -> Caller:
        """Return who a token was issued to, with what it is good for here."""
        if len(token) > MAX_LENGTH:
            raise _bad("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header)
            claims = self._verified(token, header["alg"], key)
        except ExpiredSignatureError as error:
            raise unauthorized("expired_token", "This token has expired: get a new one.") from error
        except (PyJWTError, ValueError, TypeError) as error:
            raise _bad("its signature, issuer, audience or time is wrong") from error
        return self._caller(claims)

    async def _key(self, header: Mapping[str, Any]) -> SigningKey:
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise _bad("it is not signed in a way that is accepted here")
        try:
            key = await self._issuer.key(header.get("kid"))
        except LookalikeError as error:
            detail = "Tokens cannot be verified right now: their issuer does not answer. Try again later."
            raise RefusedError("access_unavailable", detail, reason="issuer_unavailable", retry_after=10) from error
        if key is None or key.algorithm not in {None, algorithm}:
            raise _bad("the issuer has no such key")
        return key

    def _verified(self, token: str, algorithm: str, key: SigningKey) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            issuer=self._issuer.url,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED, "enforce_minimum_key_length": True},
        )

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        subject = str(claims.get("sub") or claims.get("client_id") or claims.get("azp") or "-")[:128]
        words = {word for claim in ("scope", "scp") for word in _words(claims.get(claim))}
        scopes = frozenset(scope for word, scope in self._scopes.items() if word in words)
        return Caller("token", subject, "", scopes)


def _words(claim: Any) -> list[str]:
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []


def _bad(why: str) -> RefusedError:
    return unauthorized("bad_token", f"This token is not valid: {why}.")
