"""Tokens: JWTs of one issuer for one audience, and the public keys that the issuer signs them with."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt import PyJWK
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from lookalike.data.errors import LookalikeError
from lookalike.serving.access.refusals import RefusedError, unauthorized
from lookalike.serving.background import in_thread
from lookalike.serving.context import AccessScope, Caller
from lookalike.serving.settings import Access, is_trustworthy_url
from lookalike.serving.telemetry.metrics import Metrics

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric only: nobody who can verify a token can make one, and `none` is no algorithm."""
LEEWAY_SECONDS = 30
MAX_LENGTH = 8192
_REQUIRED = ["exp", "iss", "aud"]

DISCOVERY = "/.well-known/openid-configuration"
FRESH_SECONDS = 600.0
STALE_SECONDS = 86_400.0
"""How long keys are used while the issuer does not answer; then no token is accepted."""
FLOOR_SECONDS = 10.0
"""Between two questions to the issuer, also if callers make up tokens."""
FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
KINDS = ("RSA", "EC", "OKP")

_log = logging.getLogger(__name__)


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
            claims = self._verify(token, header["alg"], key)
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

    def _verify(self, token: str, algorithm: str, key: SigningKey) -> dict[str, Any]:
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


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key, and the only algorithm that it is for where the issuer names one."""

    key: Any
    algorithm: str | None


class Issuer:
    """Holds an issuer's keys; asks again every ten minutes, and when a token names a key that is not known."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        self.url = url
        self._metrics = metrics
        self._keys: Mapping[str, SigningKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Keep the keys fresh for ever."""
        while True:
            await self._refresh()
            fresh = time.monotonic() - self._fetched_at < FRESH_SECONDS
            await asyncio.sleep(FRESH_SECONDS if fresh else FLOOR_SECONDS)

    async def key(self, name: str | None) -> SigningKey | None:
        """Return the key of this name, None where the issuer has none. Raises `LookalikeError` without any keys.

        A token that names no key may use the only one there is.
        """
        found = self._find(name)
        if found is None:
            await self._refresh()
            found = self._find(name)
        if time.monotonic() - self._fetched_at > STALE_SECONDS:
            raise LookalikeError(f"the keys of {self.url} are not known")
        return found

    def _find(self, name: str | None) -> SigningKey | None:
        if name is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(name)

    async def _refresh(self) -> None:
        async with self._one_at_a_time:
            if time.monotonic() - self._tried_at < FLOOR_SECONDS:
                return
            self._tried_at = time.monotonic()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    self._keys = await in_thread(self._fetch, name="issuer")
            except Exception as error:  # noqa: BLE001 - an issuer may send anything; the keys known before stay
                self._metrics.issuer_reachable.set(0)
                _log.error("the keys of %s cannot be read: %s", self.url, str(error) or type(error).__name__)
                return
            self._fetched_at = time.monotonic()
            self._metrics.issuer_reachable.set(1)

    def _fetch(self) -> Mapping[str, SigningKey]:
        found = _read_json(self.url.rstrip("/") + DISCOVERY)
        if found.get("issuer") != self.url:
            raise LookalikeError(f"the discovery document is of another issuer, {found.get('issuer')!r}")
        address = str(found.get("jwks_uri"))
        if not is_trustworthy_url(address):
            raise LookalikeError(f"the keys are not at an https address, but at {address!r}")
        keys = dict(_signing_keys(_read_json(address)))
        if not keys:
            raise LookalikeError("there is no key to verify signatures with")
        return keys


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Keys come from where the issuer says, or not at all."""


def _read_json(url: str) -> dict[str, Any]:
    # Without handlers for `file:` and `ftp:`, which urllib's own opener has.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
        urllib.request.HTTPErrorProcessor, urllib.request.HTTPDefaultErrorHandler, _NoRedirect,
    ):  # fmt: skip
        opener.add_handler(handler())
    try:
        with opener.open(url, timeout=FETCH_SECONDS) as reply:
            body = reply.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise LookalikeError(f"{urlsplit(url).path} is answered with status {error.code}") from error
    if len(body) > MAX_BYTES:
        raise LookalikeError(f"{urlsplit(url).path} is larger than {MAX_BYTES:,} bytes")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise LookalikeError(f"{urlsplit(url).path} is no JSON object")
    return found


def _signing_keys(document: Mapping[str, Any]) -> list[tuple[str, SigningKey]]:
    """Leave out what is no public key for signatures: keys for encryption, shared secrets, kinds not known here."""
    keys = []
    for given in document.get("keys", [])[:MAX_KEYS]:
        if given.get("kty") not in KINDS or given.get("use", "sig") != "sig" or "d" in given:
            continue
        try:
            key = PyJWK.from_dict(given).key
        except PyJWTError as error:
            _log.warning("a key of the issuer cannot be used: %s", error)
            continue
        keys.append((str(given.get("kid", "")), SigningKey(key, given.get("alg"))))
    return keys
