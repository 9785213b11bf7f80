"""Connections to checked addresses: kept alive, bounded in number, and held to the deadline of the fetch they serve.

A socket's own timeout starts again with each byte, so a server that sends one now and then would be read for ever. Here
each wait, for headers, body or the TLS handshake, ends at the deadline of the fetch.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from lookalike.data.errors import InputError
from lookalike.data.fetch.addresses import Target

HOSTS = 64  # that connections are kept to
CONNECTIONS = 16  # to one address: more would be more than a CDN likes

_ends_at: ContextVar[float] = ContextVar("ends_at")


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give what is done inside, by this thread, so many seconds of wall-clock time."""
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left() -> float:
    """Return the time until the deadline, more than 0 seconds. Raises `TimeoutError` when there is none."""
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for the whole fetch is over")
    return left


def pool_to(target: Target, address: str, ca_file: str | None) -> HTTPConnectionPool:
    """Return the connections to `address` for `target`'s scheme, host and port; a certificate must be the host's.

    Raises `InputError` if there are no certificates in `ca_file`.
    """
    tls = {"ssl_context": tls_context(ca_file), "server_hostname": target.host} if target.scheme == "https" else {}
    return _pools(os.getpid()).connection_from_host(address, target.port, target.scheme, tls)


@lru_cache(maxsize=8)
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return what trusts the system's certificate authorities, and those in the PEM file `ca_file`.

    Raises `InputError` if there are none in that file.
    """
    context = ssl.create_default_context()
    context.sslsocket_class = _TLSSocket
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:
        raise InputError(f"{ca_file} is no file of CA certificates in PEM form: {error}") from error
    return context


class _Socket(socket.socket):
    """Each read may take what is left for the whole fetch."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(seconds_left())
        return super().recv_into(buffer, nbytes, flags)


class _TLSSocket(ssl.SSLSocket):
    """Each read, and the handshake, may take what is left for the whole fetch."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_at_most(self.gettimeout()))
        super().do_handshake(block)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(seconds_left())
        return super().recv_into(buffer, nbytes, flags)


class Connection(HTTPConnection):
    """Without TLS, over a socket that knows the deadline. Messages show the name of this class."""

    def connect(self) -> None:
        """Connect to the checked address, before the deadline. Raises what urllib3 raises."""
        self.timeout = _at_most(self.timeout)  # it may have waited for its turn
        super().connect()
        plain, seconds = self.sock, self.sock.gettimeout()
        self.sock = _Socket(plain.family, plain.type, plain.proto, plain.detach())
        self.sock.settimeout(seconds)


class TLSConnection(HTTPSConnection):
    """With TLS, over a socket that knows the deadline."""

    def connect(self) -> None:
        """Connect to the checked address, before the deadline. Raises what urllib3 raises."""
        self.timeout = _at_most(self.timeout)
        super().connect()


class _Pool(HTTPConnectionPool):
    ConnectionCls = Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = TLSConnection


def _at_most(seconds: float | None) -> float:
    left = seconds_left()
    return left if seconds is None else min(seconds, left)


@lru_cache(maxsize=1)
def _pools(process: int) -> PoolManager:  # a forked child must not share its parent's connections
    pools = PoolManager(HOSTS, maxsize=CONNECTIONS, block=True)
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return pools
