"""What a client needs to know about its server."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

URL = "LOOKALIKE_URL"
API_KEY = "LOOKALIKE_API_KEY"
TIMEOUT = "LOOKALIKE_TIMEOUT"

DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """How connections are made: the arguments of `Client` by the same names. A proxy's address may hold a password."""

    verify: bool | str | ssl.SSLContext = True
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's address, the key for it, and how many seconds a call may take with all its tries.

    Raises ValueError for an address or a key that cannot be right. No error shows the key.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _check_url(self.url))
        if self.api_key is not None and not _is_token(self.api_key):
            raise ValueError("the API key is empty, or has a space or a letter that no key has")
        if not self.timeout > 0:
            raise ValueError(f"timeout is {self.timeout}: give a number of seconds above 0")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, by its address."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def read_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return what `LOOKALIKE_URL`, `LOOKALIKE_API_KEY` and `LOOKALIKE_TIMEOUT` say. Raises ValueError."""
    url = environment.get(URL)
    if not url:
        raise ValueError(f"{URL} is not set: give the server's address, such as http://127.0.0.1:8000")
    seconds = environment.get(TIMEOUT) or str(DEFAULT_TIMEOUT)
    try:
        timeout = float(seconds)
    except ValueError:
        raise ValueError(f"{TIMEOUT} is {seconds!r}: give a number of seconds") from None
    return Settings(url, environment.get(API_KEY) or None, timeout)


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("the server's address holds a user or a password: give a key as api_key")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of a server: give one such as https://search.shop.example")
    return url.rstrip("/")


def _is_token(key: str) -> bool:
    return bool(key) and all("!" <= letter <= "~" for letter in key)
