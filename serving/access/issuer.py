"""An OIDC issuer: the public keys that it signs tokens with, found by its discovery document."""

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

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from lookalike.data.errors import LookalikeError
from lookalike.serving.background import in_thread
from lookalike.serving.settings import is_trustworthy_url
from lookalike.serving.telemetry.metrics import Metrics

DISCOVERY = "/.well-known/openid-configuration"
FRESH_SECONDS = 600.0
STALE_SECONDS = 86_400.0
"""How long keys are used while the issuer does not answer; then no token is accepted."""
FLOOR_SECONDS = 10.0
"""Between two questions to the issuer, whatever tokens callers make up."""
FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
KINDS = ("RSA", "EC", "OKP")

_log = logging.getLogger(__name__)


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
            except Exception as error:  # noqa: BLE001 - whatever an issuer sends, the keys known before stay
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
