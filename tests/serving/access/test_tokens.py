"""Tokens of a real little issuer, and every way in which one may be wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lookalike.serving.access import tokens as issuers
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.access.tokens import ALGORITHMS, Issuer, Tokens
from lookalike.serving.context import AccessScope, Caller
from lookalike.serving.rest.problems import respond
from lookalike.serving.settings import Access
from lookalike.serving.telemetry.metrics import Metrics
from tests.support import oidc
from tests.support.oidc import AUDIENCE, rsa_key

RSA = rsa_key()
OTHER_RSA = rsa_key()


@pytest.fixture
def served() -> Iterator[oidc.Issuer]:
    with oidc.issuer() as running:
        running.add("rsa", RSA, alg="RS256")
        yield running


def make(served: oidc.Issuer, **changes: Any) -> Tokens:
    access = Access(jwt_issuer=served.url, jwt_audience=AUDIENCE, **changes)
    return Tokens(Issuer(served.url, Metrics()), access)


def identify(served: oidc.Issuer, token: str, **changes: Any) -> Caller:
    return asyncio.run(make(served, **changes).identify(token))


def refusal(served: oidc.Issuer, token: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        identify(served, token)
    return caught.value


def test_a_good_token(served: oidc.Issuer) -> None:
    found = identify(served, served.token("rsa", scope="openid search"))
    assert found == Caller("token", "shop-backend", "", frozenset({AccessScope.SEARCH}))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": "search admin"}, {AccessScope.SEARCH, AccessScope.ADMIN}),
        ({"scp": ["search"]}, {AccessScope.SEARCH}),
        ({"scp": "admin"}, {AccessScope.ADMIN}),
        ({"scope": "searching Search research"}, set()),
        ({"scope": 7, "scp": {"admin": True}}, set()),
        ({"scp": [["admin"], 1]}, set()),
    ],
)
def test_scopes(served: oidc.Issuer, claims: dict[str, Any], scopes: set[AccessScope]) -> None:
    assert identify(served, served.token("rsa", **claims)).scopes == scopes


def test_scopes_may_have_other_names(served: oidc.Issuer) -> None:
    token = served.token("rsa", scope="https://shop/find search")
    found = identify(served, token, jwt_search_scope="https://shop/find", jwt_admin_scope="search")
    assert found.scopes == {AccessScope.SEARCH, AccessScope.ADMIN}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_of_the_list(served: oidc.Issuer, algorithm: str) -> None:
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    if algorithm in curves:
        served.add("mine", ec.generate_private_key(curves[algorithm]))
    elif algorithm == "EdDSA":
        served.add("mine", ed25519.Ed25519PrivateKey.generate())
    else:
        served.add("mine", OTHER_RSA)
    assert identify(served, served.token("mine", algorithm)).id == "shop-backend"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another service"},
        {"aud": ["a", "b"]},
        {"aud": None},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"exp": "soon"},
    ],
)
def test_a_wrong_claim(served: oidc.Issuer, claims: dict[str, Any]) -> None:
    found = refusal(served, served.token("rsa", **claims))
    assert (found.code, found.reason) == ("unauthorized", "bad_token")
    assert 'error="invalid_token"' in respond({}, found).headers["www-authenticate"]


def test_an_expired_token_is_told_apart(served: oidc.Issuer) -> None:
    now = int(time.time())
    assert refusal(served, served.token("rsa", exp=now - 60)).reason == "expired_token"
    assert identify(served, served.token("rsa", exp=now - 5)).id  # clocks differ a little


def test_a_signature_of_another_key(served: oidc.Issuer) -> None:
    assert refusal(served, served.token("rsa", key=OTHER_RSA)).reason == "bad_token"
    head, _, signature = served.token("rsa").split(".")
    claims = served.token("rsa", scope="admin").split(".")[1]
    assert refusal(served, f"{head}.{claims}.{signature}").reason == "bad_token"


def test_a_public_key_is_no_shared_secret(served: oidc.Issuer) -> None:
    """The classic: sign by HMAC with the issuer's public key, and hope that the server verifies so, too."""
    kinds = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = RSA.public_key().public_bytes(*kinds)
    signed = _forged({"alg": "HS256", "kid": "rsa"}, served, secret)
    found = refusal(served, signed)
    assert (found.reason, "not signed in a way" in str(found)) == ("bad_token", True)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7])
def test_no_signature_at_all(served: oidc.Issuer, algorithm: Any) -> None:
    found = refusal(served, _forged({"alg": algorithm, "kid": "rsa"}, served, None))
    assert (found.reason, "not signed in a way" in str(found)) == ("bad_token", True)


def test_a_key_is_only_for_the_algorithm_that_the_issuer_names(served: oidc.Issuer) -> None:
    assert refusal(served, served.token("rsa", "PS256")).reason == "bad_token"


def test_a_key_of_another_kind(served: oidc.Issuer) -> None:
    served.add("ec", ec.generate_private_key(ec.SECP256R1()))
    assert refusal(served, served.token("ec", "RS256", key=RSA)).reason == "bad_token"


@pytest.mark.parametrize("more", [{"use": "enc"}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "XYZ"}, {"n": "!"}])
def test_other_keys_of_the_issuer_are_left_out(served: oidc.Issuer, more: dict[str, str]) -> None:
    served.add("odd", OTHER_RSA, **more)
    assert refusal(served, served.token("odd")).reason == "bad_token"
    assert identify(served, served.token("rsa")).id == "shop-backend"


def test_a_short_key_is_refused(served: oidc.Issuer) -> None:
    weak = rsa_key(1024)
    served.add("weak", weak)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = served.token("weak")
    assert refusal(served, token).reason == "bad_token"


@pytest.mark.parametrize("text", ["a.b.c", "..", "eyJ.eyJ.", "x" * 9000 + "..", "\x00.\x00.\x00"])
def test_nonsense(served: oidc.Issuer, text: str) -> None:
    assert refusal(served, text).reason == "bad_token"


def test_a_token_that_names_no_key_may_use_the_only_one(served: oidc.Issuer) -> None:
    now = int(time.time())
    claims = {"iss": served.url, "aud": AUDIENCE, "sub": "x", "exp": now + 60}
    token = jwt.encode(claims, RSA, algorithm="RS256")
    assert identify(served, token).id == "x"
    served.add("second", OTHER_RSA)
    assert refusal(served, token).reason == "bad_token"


def test_a_new_key_is_found_and_the_issuer_is_not_flooded(served: oidc.Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        tokens = make(served)
        await tokens.identify(served.token("rsa"))
        served.add("new", OTHER_RSA)
        strange = served.token("rsa", key=RSA).split(".")
        for number in range(20):
            head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": f"k{number}"}).encode()).decode()
            with pytest.raises(RefusedError):
                await tokens.identify(".".join([head.rstrip("="), *strange[1:]]))
        assert served.asked.count("/keys") == 1  # the floor: all these came within seconds of the first question
        monkeypatch.setattr(issuers, "FLOOR_SECONDS", 0.0)
        assert (await tokens.identify(served.token("new"))).id == "shop-backend"
        assert served.asked.count("/keys") == 2

    asyncio.run(main())


def test_an_issuer_that_is_away(served: oidc.Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "FLOOR_SECONDS", 0.0)

    async def main() -> None:
        tokens = make(served)
        saved, served.documents = served.documents, {}
        with pytest.raises(RefusedError) as caught:
            await tokens.identify(served.token("rsa"))
        assert (caught.value.code, caught.value.reason) == ("access_unavailable", "issuer_unavailable")
        assert caught.value.retry_after
        served.documents = saved
        await tokens.identify(served.token("rsa"))
        served.documents = {}
        served.private["unknown"] = OTHER_RSA
        with pytest.raises(RefusedError) as caught:
            await tokens.identify(served.token("unknown"))
        assert caught.value.reason == "bad_token"
        await tokens.identify(served.token("rsa"))  # the keys known before stay
        monkeypatch.setattr(issuers, "STALE_SECONDS", 0.0)
        with pytest.raises(RefusedError) as caught:
            await tokens.identify(served.token("rsa"))  # but not for ever
        assert caught.value.reason == "issuer_unavailable"

    asyncio.run(main())


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://other.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{url}", "jwks_uri": "http://example.com/keys"},
        {"issuer": "{url}", "jwks_uri": "{url}/moved"},
        {"issuer": "{url}"},
        [],
        {"issuer": "{url}", "padding": "x" * 300_000, "jwks_uri": "{url}/keys"},
    ],
)
def test_a_discovery_document_that_leads_astray(served: oidc.Issuer, document: Any) -> None:
    filled = json.loads(json.dumps(document).replace("{url}", served.url))
    served.documents["/.well-known/openid-configuration"] = filled
    served.documents["/moved"] = f"{served.url}/keys"
    assert refusal(served, served.token("rsa")).reason == "issuer_unavailable"


def test_a_hanging_issuer_holds_nobody_for_long(served: oidc.Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "FETCH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and never answers
        hanging = oidc.Issuer(f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert refusal(hanging, served.token("rsa")).reason == "issuer_unavailable"
    assert time.monotonic() - start < 5


def _forged(header: dict[str, Any], served: oidc.Issuer, secret: bytes | None) -> str:
    import hashlib
    import hmac

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    claims = served.token("rsa", scope="admin").split(".")[1]
    signed = f"{encoded(json.dumps(header).encode())}.{claims}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret else b""
    return f"{signed}.{encoded(signature)}"
