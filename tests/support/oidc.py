"""A small OIDC issuer: a real HTTP server with a discovery document, a key set, and tokens signed with its keys."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "lookalike"

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Issuer:
    """`documents` maps paths to what is answered; `asked` is what was asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self.private: dict[str, Private] = {}
        self.documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
            "/keys": {"keys": []},
        }

    def add(self, name: str, private: Private, **more: Any) -> None:
        """Publish a key."""
        self.private[name] = private
        self.documents["/keys"]["keys"].append({**public(private), "kid": name, **more})

    def token(self, name: str, algorithm: str = "RS256", *, key: Any = None, **claims: Any) -> str:
        """Return a token that is good in every way but what `claims` change; None takes a claim away."""
        now = int(time.time())
        given = {"iss": self.url, "aud": AUDIENCE, "sub": "shop-backend", "iat": now, "exp": now + 600, **claims}
        payload = {claim: value for claim, value in given.items() if value is not None}
        return jwt.encode(payload, key or self.private[name], algorithm=algorithm, headers={"kid": name})


def public(private: Private) -> dict[str, Any]:
    if isinstance(private, rsa.RSAPrivateKey):
        found = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        found = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return dict(found)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@contextmanager
def issuer() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.asked.append(self.path)
            found = running.documents.get(self.path)
            self.send_response(302 if isinstance(found, str) else 200 if found is not None else 404)
            if isinstance(found, str):
                self.send_header("location", found)
            self.end_headers()
            if not isinstance(found, str):
                self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Issuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join(10)
