"""Web servers for tests, over HTTP and HTTPS, that do what no good server would; and names that only tests know."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOCAL = "127.0.0.1"

Page = Callable[["Visitor"], None]


class Site(ThreadingHTTPServer):
    """A server whose `pages` answer in turn, the last one again and again. It counts connections and keeps requests."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__((LOCAL, 0), Visitor)
        self.pages: dict[str, list[Page]] = {}
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self.connections = 0
        self.names: list[str | None] = []
        self.lock = threading.Lock()
        if context:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested."""


class Visitor(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Site

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append((self.command, self.path, dict(self.headers)))
            pages = self.server.pages.get(self.path, [answer(b"nothing here", 404)])
            page = pages.pop(0) if len(pages) > 1 else pages[0]
        page(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
        """Say nothing."""


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Page:
    """Answer with a body, as a good server would; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def page(visitor: Visitor) -> None:
        visitor.head(status, {"Content-Length": str(len(body)), **named})
        if visitor.command != "HEAD":
            visitor.wfile.write(body)

    return page


def raw(*pieces: bytes, pause: float = 0, times: int = 1, hang_up: bool = True) -> Page:
    """Send these bytes, the last piece `times` times with a pause after each."""

    def page(visitor: Visitor) -> None:
        visitor.close_connection = hang_up
        for piece in pieces[:-1]:
            visitor.wfile.write(piece)
        for _ in range(times):
            visitor.wfile.write(pieces[-1])
            time.sleep(pause)

    return page


@contextmanager
def running(site: Site) -> Iterator[Site]:
    """Serve until the end of the block, whatever happens in it."""
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


class Names:
    """`socket.getaddrinfo` with names of its own, and public addresses that lead to this machine."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str] | OSError | threading.Event]] = {}
        self.here: set[str] = set()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str, port: int | None, *args: Any, **options: Any) -> list[Any]:
        self.asked.append(host)
        if host in self.here:
            return self._real(LOCAL, port, *args, **options)
        if host not in self.answers:
            ipaddress.ip_address(host)  # a test must not ask real name servers
            return self._real(host, port, *args, **options)
        answers = self.answers[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, threading.Event):
            found.wait(20)
            return []
        if isinstance(found, OSError):
            raise found
        return [result for address in found for result in self._real(address, port, *args, **options)]


def certificates(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """Make an authority, and a server's certificate for `names` and 127.0.0.1; return the authority's file."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    authority = _certificate(subject, subject, authority_key, authority_key, _authority_extensions())
    alternatives = [*(x509.DNSName(name) for name in names), x509.IPAddress(ipaddress.ip_address(LOCAL))]
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    certificate = _certificate(server, subject, server_key, authority_key, [x509.SubjectAlternativeName(alternatives)])
    ca_file, chain = folder / "authority.pem", folder / "server.pem"
    ca_file.write_bytes(authority.public_bytes(Encoding.PEM))
    key = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(key + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return ca_file, context


def _authority_extensions() -> list[x509.ExtensionType]:
    yes = {"key_cert_sign": True, "crl_sign": True, "digital_signature": True}
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    usage = x509.KeyUsage(**yes, **dict.fromkeys((*others, "decipher_only"), False))
    return [x509.BasicConstraints(ca=True, path_length=0), usage]


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: list[x509.ExtensionType],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=not isinstance(extension, x509.SubjectAlternativeName))
    return builder.sign(issuer_key, hashes.SHA256())
