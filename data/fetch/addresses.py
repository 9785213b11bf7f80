"""Where a URL leads: its host in one normal form, and the addresses behind it.

One host can be written in many ways, and programs disagree about most of them. Only one is let through: an ASCII or
IDNA 2008 name, four decimal numbers, or an IPv6 address in brackets. What is checked is what is connected to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urljoin, urlsplit

import idna

from lookalike.data.errors import FetchError

MAX_URL = 8192
SHOWN = 300
ANSWER_SECONDS = 30
ANSWERS = 256

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
_USER = re.compile(r"//[^/?#]*@")
_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#?]*)=([^&;#]*)")
_SECRET_NAME = re.compile(
    r"sig|token|secret|pass|pwd|auth|cred|key|jwt|session|code|policy|hmac|hash|expires", re.IGNORECASE
)
_SECRET_LENGTH = 24
"""A value as long as this is hidden whatever its name: names of pictures and sizes are shorter."""
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:@%\s]+)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTS = frozenset("\u3002\uff0e\uff61")  # IDNA would take them for dots

# IANA's special-purpose registries: `is_global` knows those of the Python release only, and calls multicast global
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")  # leaves out mapped, compatible, NAT64, local and multicast addresses
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # looks public, but is what Azure answers its own machines from
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),  # Teredo, documentation, 6to4
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """What one request asks of whom. `host` is in its normal form, `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(url: str) -> Target:
    """Return what `url` asks of whom. Raises `FetchError` `bad_url`."""
    if len(url) > MAX_URL or url != url.strip() or _UNSAFE.search(url):
        raise FetchError("bad_url", f"{shown(url)} is too long, or has a control character, a backslash or outer space")
    try:
        return _target(urlsplit(url))
    except ValueError as error:
        raise FetchError("bad_url", f"{shown(url)} is no URL that can be fetched: {error}") from error


def resolve_redirect(url: str, location: str) -> str:
    """Return where a redirect from `url` leads. Raises `FetchError` `bad_url`."""
    if _UNSAFE.search(location.strip()):
        raise FetchError("bad_url", f"{shown(url)} redirects to an address with a control character or a backslash")
    try:
        raw = location.strip().encode("latin-1")  # headers come as bytes, and most that are not ASCII are UTF-8
        return urljoin(url, "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw))
    except ValueError as error:
        raise FetchError("bad_url", f"{shown(url)} redirects to what is no URL: {error}") from error


def normal_host(text: str) -> str:
    """Return the one form of a host's name or address; IPv6 is given in brackets, and returned without.

    Raises `ValueError`, which says what is wrong.
    """
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if len(text) > 254 or _DOTS.intersection(text):
        raise ValueError(f"{shown(text)!r} is no host name")
    name = (text if text.isascii() else idna.encode(text.lower()).decode()).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{shown(text)!r} is no host name")
    if _NUMBER.fullmatch(
        labels[-1]
    ):  # other programs would read an address: in octal, in hex, or of fewer than 4 parts
        return str(ipaddress.IPv4Address(name))
    return name


def shown(url: str) -> str:
    """Return a URL as a message may have it: short, without secrets, and with nothing that breaks a line.

    Hidden are a user with a password, and those values of a query that sign it or prove who asks.
    """
    known = hide_secrets(url)[: 2 * SHOWN]
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in known)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def hide_secrets(url: str) -> str:
    """Return a URL without its user, and without the values of its query that may be secret."""
    start, mark, query = _USER.sub("//…@", url[:MAX_URL]).partition("?")
    return start + mark + _PARAMETER.sub(_hide_value, f"?{query}")[1:] if mark else start


def _hide_value(found: re.Match[str]) -> str:
    name, value = found.groups()
    is_secret = bool(value) and (len(value) >= _SECRET_LENGTH or _SECRET_NAME.search(name))
    return f"{name}=…" if is_secret else f"{name}={value}"


def refused_address(addresses: Iterable[str], allowed: tuple[str, ...]) -> str | None:
    """Return the first address that is neither public nor in the `allowed` networks (CIDRs); None where all are."""
    networks = networks_of(allowed)
    for text in addresses:
        address = ipaddress.ip_address(text)
        if not is_public(address) and not any(address in network for network in networks):
            return text
    return None


def is_public(address: Address) -> bool:
    """Tell whether an address is one of a single machine somewhere in the Internet."""
    if address.version == 6 and address not in _IPV6_UNICAST:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


@lru_cache(maxsize=64)
def networks_of(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks that CIDRs say. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def lookup(host: str, seconds: float) -> tuple[str, ...]:
    """Return a host's addresses, not yet checked; an answer is kept for `ANSWER_SECONDS`.

    Raises `OSError`: `socket.gaierror` where there is no such host, `TimeoutError` where nothing answers in `seconds`.
    """
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        return (host,)
    try:
        return _answer(host).result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"nothing said in time where {host} is") from error


_answers: OrderedDict[str, tuple[float, Future[tuple[str, ...]]]] = OrderedDict()
_lock = threading.Lock()


def _answer(host: str) -> Future[tuple[str, ...]]:
    """All that want to know the same host at the same time share one question."""
    now = time.monotonic()
    with _lock:
        if host in _answers:
            asked_at, answer = _answers[host]
            if now - asked_at < ANSWER_SECONDS and not (answer.done() and answer.exception()):
                return answer
        answer = Future()
        _answers[host] = now, answer
        _answers.move_to_end(host)
        if len(_answers) > ANSWERS:
            _answers.popitem(last=False)
    # A thread that nobody waits for: getaddrinfo has no time limit, and must not keep the process from ending
    threading.Thread(target=_ask, args=(host, answer), name=f"lookup-{host}", daemon=True).start()
    return answer


def _ask(host: str, answer: Future[tuple[str, ...]]) -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        answer.set_exception(error)
    else:
        answer.set_result(tuple(dict.fromkeys(str(address[0]) for *_, address in found)))


def _target(parts: SplitResult) -> Target:
    if parts.scheme not in _PORTS:
        raise ValueError("it does not begin with http:// or https://")
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if not authority:
        raise ValueError("give a host, and a port where it needs one; no user, no percent signs")
    port = int(authority["port"] or _PORTS[parts.scheme])
    if port > 65535:
        raise ValueError(f"there is no port {port}")
    path = parts.path or "/"
    return Target(parts.scheme, normal_host(authority["host"]), port, f"{path}?{parts.query}" if parts.query else path)
