"""What may be fetched over HTTP and HTTPS, and what it may cost.

What may be fetched over HTTP: the settings `LOOKALIKE_FETCH__…`, for reindexing and for serving.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from lookalike.data.errors import InputError
from lookalike.data.fetch.addresses import networks_of, normal_host

HOSTS_SETTING = "LOOKALIKE_FETCH__ALLOWED_HOSTS"
NETWORKS_SETTING = "LOOKALIKE_FETCH__ALLOWED_NETWORKS"
PORTS_SETTING = "LOOKALIKE_FETCH__ALLOWED_PORTS"

MAX_SECONDS = 24 * 3600


@dataclass(frozen=True)
class FetchPolicy:
    """What may be fetched, and what it may cost. Hosts are kept in their normal form.

    Args:
        allowed_hosts: names, or `*.example.com` for all below one; nothing else is fetched, so without any nothing is.
        allowed_networks: CIDRs that may be fetched from although they are private.
        allowed_ports: the ports that URLs may name.
        max_bytes: the largest body.
        connect_seconds: the longest wait for a connection, and for its TLS handshake.
        total_seconds: the longest that one fetch takes: look-ups, redirects, body and retries included.
        max_redirects: the most redirects that are followed.
        retries: how often to try again where a server does not answer, or says 429, 500, 502, 503 or 504.
        ca_file: a PEM file of certificate authorities that are trusted besides the system's.

    Raises:
        InputError: a value cannot be used.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = (80, 443)
    max_bytes: int = 64 * 2**20
    connect_seconds: float = 5.0
    total_seconds: float = 30.0
    max_redirects: int = 5
    retries: int = 2
    ca_file: str | None = None

    def __post_init__(self) -> None:
        for name in ("allowed_hosts", "allowed_networks", "allowed_ports"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name} is one text: give a list")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "allowed_hosts", tuple(_normal_pattern(host) for host in self.allowed_hosts))
        _check_networks(self.allowed_networks)
        for port in self.allowed_ports:
            _check_range("allowed_ports", port, 1, 65535)
        for name in ("connect_seconds", "total_seconds"):
            _check_range(name, getattr(self, name), 0.001, MAX_SECONDS)
        for name, least in (("max_bytes", 1), ("max_redirects", 0), ("retries", 0)):
            _check_range(name, getattr(self, name), least, 2**40)
        if self.ca_file is not None:
            _check_certificates(self.ca_file)

    def allows_host(self, host: str) -> bool:
        """Tell whether a host, in its normal form, is one of the allowed ones."""
        return any(host.endswith(one[1:]) if one.startswith("*.") else host == one for one in self.allowed_hosts)


def _normal_pattern(text: str) -> str:
    try:
        return f"*.{normal_host(text[2:])}" if text.startswith("*.") else normal_host(text)
    except ValueError as error:
        message = (
            f"allowed_hosts: {error}: give names without scheme and port, such as cdn.example.com or *.example.com"
        )
        raise InputError(message) from error


def _check_networks(texts: tuple[str, ...]) -> None:
    try:
        networks_of(texts)
    except ValueError as error:
        raise InputError(f"allowed_networks: {error}: give networks such as 10.1.0.0/16 or fd00:1234::/32") from error


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(f"{name} cannot be {value}: give a number from {least} to {most}")


def _check_certificates(ca_file: str) -> None:
    from lookalike.data.fetch.connections import tls_context  # noqa: PLC0415 - settings need not import an HTTP client

    tls_context(ca_file)


class FetchSettings(BaseModel):
    """Where pictures and catalogues may be fetched from, and what that may cost."""

    allowed_hosts: str = Field("", description="Hosts to fetch from, such as img.shop.com,*.cdn.com; default: none.")
    allowed_networks: str = Field("", description="Private networks that may be fetched from, such as 10.1.0.0/16.")
    allowed_ports: str = Field("80,443", description="Ports that may be fetched from.")
    max_bytes: int = Field(64 * 2**20, ge=1, description="Largest picture fetched, in bytes.")
    connect_seconds: float = Field(5.0, gt=0, description="How long connecting may take.")
    total_seconds: float = Field(30.0, gt=0, description="How long one fetch may take, redirects and retries included.")
    retries: int = Field(3, ge=0, description="How often a fetch is tried again.")
    ca_file: str | None = Field(None, description="Certificates to trust instead of the system's.")

    def policy(self) -> FetchPolicy:
        """Return the same as what fetches. Raises `InputError` for what makes no sense."""
        ports = split_list(self.allowed_ports)
        if not all(port.isdecimal() for port in ports):
            raise InputError(f"allowed_ports: {self.allowed_ports!r} are no ports: give numbers such as 80,443")
        return FetchPolicy(
            allowed_hosts=split_list(self.allowed_hosts),
            allowed_networks=split_list(self.allowed_networks),
            allowed_ports=tuple(int(port) for port in ports),
            max_bytes=self.max_bytes,
            connect_seconds=self.connect_seconds,
            total_seconds=self.total_seconds,
            retries=self.retries,
            ca_file=self.ca_file,
        )


def split_list(text: str | None) -> tuple[str, ...]:
    """Return the values that a setting lists with commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
