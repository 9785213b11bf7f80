"""What can be set: `LOOKALIKE_…` variables, or a `.env` file; groups are joined with two underscores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from data.channels import DEFAULT_CHANNEL

PREFIX = "LOOKALIKE_"
DEFAULT_PORT = 8000


class Limits(BaseModel):
    """What one request may ask for."""

    max_body_bytes: int = Field(10 * 2**20, ge=1024, description="Largest request body in bytes; more gets 413.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=64_000_000, description="Most pixels that a query picture may have once decoded."
    )
    max_k: int = Field(1000, ge=1, description="Most hits that one query may ask for.")
    max_offset: int = Field(10_000, ge=0, description="Furthest that `offset` may skip.")
    max_filters: int = Field(32, ge=0, description="Most filters in one query.")
    request_seconds: float = Field(10.0, gt=0, description="Deadline of a request, its body included; then 504 or 408.")


class Batching(BaseModel):
    """How pictures become vectors."""

    queue_size: int = Field(256, ge=1, description="Queries in progress or waiting before new ones get 429.")
    # Measured on CPU: a batch of 16 takes 16 times as long as one picture, so larger ones would only let all wait.
    max_batch: int = Field(4, ge=1, description="Most pictures that the encoder takes at a time.")
    decode_threads: int | None = Field(
        None, ge=1, description="Threads that decode pictures; default: this worker's share of the processors."
    )
    encoder_threads: int | None = Field(
        None, ge=1, description="Threads of the encoder's model; default: this worker's share of the processors."
    )


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its name, its default as it would be written, and what it is for."""

    name: str
    default: str
    description: str


class ServingSettings(BaseSettings):
    """Settings of the serving tier."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    store: str = Field("./.lookalike", description="Where snapshots are: a folder, or s3://bucket/prefix.")
    channel: str = Field(DEFAULT_CHANNEL, description="The channel of snapshots that is served.")
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(DEFAULT_PORT, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=256, description="Server processes that share the port.")
    poll_seconds: float = Field(2.0, gt=0, description="How often to look whether the channel moved.")
    probe_seconds: float = Field(10.0, gt=0, description="How often an idle server proves that it can still answer.")
    shutdown_seconds: int = Field(10, ge=1, description="How long requests may take to finish when the server stops.")
    cache: Path = Field(
        Path("~/.cache/lookalike"), description="Local copies of what is served: one folder for each store and channel."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    access_log: bool = Field(False, description="Log a line for each request.")
    limits: Limits = Field(default_factory=Limits)
    batching: Batching = Field(default_factory=Batching)

    @field_validator("port", mode="before")
    @classmethod
    def _not_a_service_link(cls, value: Any) -> Any:
        # Kubernetes sets LOOKALIKE_PORT=tcp://… in every pod beside a service that is named "lookalike".
        return DEFAULT_PORT if isinstance(value, str) and value.startswith("tcp://") else value

    @property
    def decode_threads(self) -> int:
        """Threads that decode pictures."""
        return self.batching.decode_threads or self.share_of_processors

    @property
    def encoder_threads(self) -> int:
        """Threads of the encoder's model."""
        return self.batching.encoder_threads or self.share_of_processors

    @property
    def share_of_processors(self) -> int:
        """Processors for each worker, at least one."""
        return max(1, len(os.sched_getaffinity(0)) // self.workers)

    def cache_folder(self, store_uri: str) -> Path:
        """Return the folder for one store and channel; `store_uri` is the absolute name that the store gives itself."""
        digest = hashlib.sha256(f"{store_uri}\n{self.channel}".encode()).hexdigest()
        return self.cache.expanduser() / f"{self.channel}-{digest[:12]}"

    @classmethod
    def variables(cls) -> Iterator[Variable]:
        """Yield every environment variable that can be set."""
        yield from _variables(cls, PREFIX)


def _variables(model: type[BaseModel], prefix: str) -> Iterator[Variable]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            default = "" if field.default is None else str(field.default)
            yield Variable(f"{prefix}{name.upper()}", default, field.description or "")
