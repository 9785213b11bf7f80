"""What may be fetched over HTTP, as it is set: `LOOKALIKE_FETCH__…`, for reindexing and for serving alike."""

from __future__ import annotations

from pydantic import BaseModel, Field

from data.errors import InputError
from data.fetch_policy import FetchPolicy


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
        ports = listed(self.allowed_ports)
        if not all(port.isdecimal() for port in ports):
            raise InputError(f"allowed_ports: {self.allowed_ports!r} are no ports: give numbers such as 80,443")
        return FetchPolicy(
            allowed_hosts=listed(self.allowed_hosts),
            allowed_networks=listed(self.allowed_networks),
            allowed_ports=tuple(int(port) for port in ports),
            max_bytes=self.max_bytes,
            connect_seconds=self.connect_seconds,
            total_seconds=self.total_seconds,
            retries=self.retries,
            ca_file=self.ca_file,
        )


def listed(text: str | None) -> tuple[str, ...]:
    """Return the values that a setting lists with commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
