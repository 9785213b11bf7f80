"""What can be set: `LOOKALIKE_…` variables, or a `.env` file; groups are joined with two underscores."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lookalike.data.errors import InputError
from lookalike.data.fetch.policy import FetchSettings, split_list
from lookalike.data.processors import count_processors
from lookalike.data.settings import read
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL

PREFIX = "LOOKALIKE_"
DEFAULT_PORT = 8000
ROOT_PATH = r"^(/[A-Za-z0-9._~-]+)*$"


class Limits(BaseModel):
    """What one request may ask for."""

    max_body_bytes: int = Field(10 * 2**20, ge=1024, description="Largest request body in bytes; more gets 413.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=64_000_000, description="Most pixels that a query picture may have once decoded."
    )
    max_k: int = Field(1000, ge=1, description="Most hits that one query may ask for.")
    max_offset: int = Field(10_000, ge=0, description="Furthest that `offset` may skip.")
    max_filters: int = Field(32, ge=0, description="Most filters in one query.")
    max_examples: int = Field(
        16, ge=1, description="Most pictures, products and vectors that one query may be made of."
    )
    max_queries: int = Field(32, ge=1, description="Most queries in one batch.")
    max_pictures: int = Field(64, ge=1, description="Most pictures in one batch, those behind URLs included.")
    max_facets: int = Field(8, ge=0, description="Most attributes whose values one query may have counted.")
    request_seconds: float = Field(10.0, gt=0, description="Deadline of a request, its body included; then 504 or 408.")
    max_reply_bytes: int = Field(
        32 * 2**20, ge=2**20, description="Most bytes of products in one reply; queries that would need more get 422."
    )
    bodies_bytes: int = Field(
        96 * 2**20,
        ge=2**20,
        description="Most bytes of request bodies in memory, in each worker, half of it for one caller; more get 429.",
    )
    replies_bytes: int = Field(
        128 * 2**20,
        ge=2**20,
        description="Most bytes of replies in memory, in each worker, half of it for one caller; more get 429.",
    )
    connections: int = Field(
        1000,
        ge=16,
        description="Most connections of each worker; if there are more, those that keep it waiting are closed.",
    )


class Batching(BaseModel):
    """How pictures become vectors."""

    queue_size: int = Field(256, ge=1, description="Queries in progress or waiting before new ones get 429.")
    # Measured on CPU: small batches side by side are faster than one large one, whose threads wait for each other.
    max_batch: int = Field(2, ge=1, description="Most pictures that the encoder takes at a time.")
    lanes: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Batches that are encoded at a time; default: one more than this worker's share of the processors.",
    )
    wait_ms: float = Field(
        0.0, ge=0, le=1000, description="How long an idle encoder waits for a fuller batch: for accelerators only."
    )
    cached_vectors: int = Field(
        1024, ge=0, description="Vectors of the last query pictures that are kept, for repeated ones; 0 for none."
    )
    cached_texts: int = Field(
        4096, ge=0, description="Vectors of the last query texts that are kept, for repeated ones; 0 for none."
    )
    decode_threads: int | None = Field(
        None, ge=1, description="Threads that decode pictures; default: this worker's share of the processors."
    )
    encoder_threads: int | None = Field(
        None,
        ge=1,
        description="Most threads of the encoder's model for a batch; default: this worker's share of the processors.",
    )


class Access(BaseModel):
    """Who may ask; nobody needs a key or a token unless one of these says how they are known."""

    keys_file: Path | None = Field(
        None, description="File of API keys that `lookalike keys` looks after; read again when it changes."
    )
    keys: str | None = Field(
        None, description="What a keys file holds, as one line: for secrets that come as environment variables."
    )
    jwt_issuer: str | None = Field(None, description="OIDC issuer whose tokens are accepted: an https address.")
    jwt_audience: str | None = Field(None, description="Audience that such a token must be for.")
    jwt_search_scope: str = Field("search", min_length=1, description="What `scope` or `scp` says for searching.")
    jwt_admin_scope: str = Field("admin", min_length=1, description="What `scope` or `scp` says for administration.")
    open_metrics: bool = Field(
        False, description="Let everybody read /metrics on the public port, where else it takes the scope `admin`."
    )

    @property
    def required(self) -> bool:
        """Whether a caller must prove who they are."""
        return bool(self.keys_file or self.keys or self.jwt_issuer)

    @model_validator(mode="after")
    def _issuer_and_audience(self) -> Self:
        if bool(self.jwt_issuer) != bool(self.jwt_audience):
            raise ValueError("set both jwt_issuer and jwt_audience: a token for somebody else must not count here")
        if self.jwt_issuer and not is_trustworthy_url(self.jwt_issuer):
            raise ValueError("jwt_issuer must be an https address; http is for this machine only")
        if self.jwt_search_scope == self.jwt_admin_scope:
            raise ValueError("jwt_search_scope and jwt_admin_scope must differ")
        return self


class Rates(BaseModel):
    """How often one caller may ask; each worker process counts for itself."""

    per_key: int | None = Field(
        None, ge=1, description="Requests a minute of one key or token, in each worker; more get 429."
    )
    per_address: int | None = Field(
        None, ge=1, description="Requests a minute of one address without a key, in each worker; more get 429."
    )
    burst: int = Field(60, ge=1, description="How many of them may come at once.")


class Web(BaseModel):
    """What browsers may do."""

    cors_origins: str | None = Field(
        None, description="Web sites whose pages may ask, with commas, such as https://shop.example."
    )
    hsts_seconds: int | None = Field(
        None, ge=1, description="How long browsers shall insist on https; set it only where all is https."
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for origin in split_list(value):
            parts = urlsplit(origin)
            if origin != "*" and (f"{parts.scheme}://{parts.netloc}" != origin or not parts.hostname):
                raise ValueError(f"{origin!r} is no origin: write https://shop.example, without a path")
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins, one by one."""
        return split_list(self.cors_origins)


class Stream(BaseModel):
    """Duplex streams: many queries and their answers over one connection."""

    enabled: bool = Field(
        False,
        description="Answer streams of queries, too: at /v1/stream over WebSocket, and over gRPC if that has a port.",
    )
    window: int = Field(
        32, ge=1, le=1024, description="Queries of one stream under way; nothing more is read while there are as many."
    )
    streams: int = Field(64, ge=1, description="Most streams of each worker; more get 429.")
    per_caller: int = Field(
        8, ge=1, description="Most streams of one key or token, or of one address without, in each worker."
    )
    idle_seconds: float = Field(300.0, gt=0, description="How long a stream may be silent before it is ended.")
    send_seconds: float = Field(
        20.0, gt=0, description="How long a client may take to read one answer, and a second more for each 64 KiB."
    )
    pin_seconds: float = Field(
        300.0, ge=0, description="How long streams may stay on the snapshot before; never beyond the next swap."
    )


class Graphql(BaseModel):
    """GraphQL: what one operation may ask for. What each of its searches may ask for is limited as elsewhere."""

    enabled: bool = Field(False, description="Answer GraphQL, too, at /graphql; takes the extra `graphql`.")
    introspection: bool = Field(True, description="Tell the schema to tools that ask; it is also in the docs.")
    max_letters: int = Field(64 * 2**10, ge=256, description="Longest text of an operation; pictures are variables.")
    max_tokens: int = Field(2000, ge=16, description="Most tokens of such a text.")
    max_depth: int = Field(10, ge=2, le=50, description="Most levels of fields within fields.")
    max_aliases: int = Field(64, ge=0, description="Most aliases in one operation.")
    max_directives: int = Field(64, ge=0, description="Most directives in one operation.")
    max_cost: int = Field(
        64, ge=1, description="Most searches and other questions of one operation, at worst; each counts as a request."
    )
    max_results: int = Field(1000, ge=1, description="Most hits and products that one operation may return, at worst.")


class Grpc(BaseModel):
    """The gRPC gateway, beside HTTP."""

    port: int | None = Field(
        None, ge=1, le=65535, description="Port on which gRPC is answered, too; takes the extra `grpc`."
    )
    reflection: bool = Field(False, description="Tell everybody who asks over gRPC which methods there are.")
    calls: int = Field(256, ge=1, description="Most calls of each worker under way over gRPC; more get 429.")
    calls_per_connection: int = Field(100, ge=1, description="Most calls under way over one connection of gRPC.")
    connection_age_seconds: float = Field(
        300.0,
        gt=0,
        description="How long a connection or a stream of gRPC lasts, so that its client chooses a server again.",
    )


class ConsoleSettings(BaseModel):
    """What operators may do here. They read channels, snapshots and runs in any case, with the scope `admin`."""

    moves: bool = Field(
        False,
        description="Let operators promote, roll back and pin; the store's credentials must let this server write.",
    )
    past_snapshots: int = Field(
        0, ge=0, description="Most past snapshots that operators may ask at a time; each takes the memory of one."
    )


class QueryFetch(FetchSettings):
    """Where pictures of queries may be fetched from: nowhere, unless hosts are named."""

    allowed_hosts: str = Field(
        "", description="Hosts that queries may name pictures of, such as img.shop.com,*.cdn.com; default: none."
    )
    allowed_ports: str = Field("443", description="Ports that such URLs may name.")
    max_bytes: int = Field(10 * 2**20, ge=1, description="Largest picture fetched for a query, in bytes.")
    connect_seconds: float = Field(2.0, gt=0, description="How long connecting may take for a query.")
    total_seconds: float = Field(5.0, gt=0, description="How long one fetch may take for a query, redirects included.")
    retries: int = Field(0, ge=0, description="How often a fetch for a query is tried again.")


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
    admin_port: int | None = Field(
        None, ge=1, le=65535, description="Port of its own for /metrics and /v1/admin, which then leave the public one."
    )
    admin_host: str = Field("127.0.0.1", description="Address that the admin port listens on.")
    trusted_proxies: str | None = Field(
        None, description="Addresses and networks of proxies whose X-Forwarded-For is believed, with commas."
    )
    root_path: str = Field(
        "",
        pattern=ROOT_PATH,
        description="Path below which a proxy serves this, such as /visual; a trusted X-Forwarded-Prefix wins.",
    )
    workers: int = Field(1, ge=1, le=256, description="Server processes that share the port.")
    poll_seconds: float = Field(2.0, gt=0, description="How often to look whether the channel moved.")
    probe_seconds: float = Field(10.0, gt=0, description="How often an idle server proves that it can still answer.")
    shutdown_seconds: int = Field(10, ge=1, description="How long requests may take to finish when the server stops.")
    retain_seconds: float = Field(
        60.0, ge=0, description="How long the snapshot before goes on answering those who ask for it by name."
    )
    thumbnail_bytes: int = Field(
        64 * 2**20, ge=0, description="Memory for small copies of product pictures, in each worker, in bytes."
    )
    recall_seconds: float = Field(
        0.0, ge=0, description="How often to compare searches with exact search, in the background; 0 for never."
    )
    traces: bool = Field(
        False, description="Send OpenTelemetry traces, where OTEL_… variables say; takes the extra `otel`."
    )
    cache: Path = Field(
        Path("~/.cache/lookalike"), description="Local copies of what is served: one folder for each store and channel."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people, or one JSON object a line.")
    access_log: bool = Field(False, description="Log a line for each request.")
    limits: Limits = Field(default_factory=Limits)
    batching: Batching = Field(default_factory=Batching)
    access: Access = Field(default_factory=Access)
    rates: Rates = Field(default_factory=Rates)
    web: Web = Field(default_factory=Web)
    stream: Stream = Field(default_factory=Stream)
    graphql: Graphql = Field(default_factory=Graphql)
    grpc: Grpc = Field(default_factory=Grpc)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    fetch: FetchSettings = Field(default_factory=FetchSettings)
    urls: QueryFetch = Field(default_factory=QueryFetch)

    @field_validator("port", mode="before")
    @classmethod
    def _not_a_service_link(cls, value: Any) -> Any:
        # Kubernetes sets LOOKALIKE_PORT=tcp://… in every pod beside a service that is named "lookalike".
        return DEFAULT_PORT if isinstance(value, str) and value.startswith("tcp://") else value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.admin_port == self.port:
            raise ValueError("admin_port must be another port than port")
        if self.grpc.port in {self.port, self.admin_port} - {None}:
            raise ValueError("grpc: port must be another port than port and admin_port")
        return self

    @model_validator(mode="after")
    def _fetchable(self) -> Self:
        for name, fetch in (("fetch", self.fetch), ("urls", self.urls)):
            try:
                fetch.policy()
            except InputError as error:
                raise ValueError(f"{name}: {error}") from error
        return self

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine can reach the public port."""
        return not _is_loopback(self.host)

    @property
    def decode_threads(self) -> int:
        """Threads that decode pictures."""
        return self.batching.decode_threads or self.share_of_processors

    @property
    def encoder_threads(self) -> int:
        """Threads of the encoder's model."""
        return self.batching.encoder_threads or self.share_of_processors

    @property
    def lanes(self) -> int:
        """Batches that are encoded at a time."""
        return self.batching.lanes or self.share_of_processors + 1  # while one is handed over, all processors are busy

    @property
    def share_of_processors(self) -> int:
        """Processors for each worker, at least one."""
        return max(1, count_processors() // self.workers)

    def cache_folder(self, store_uri: str) -> Path:
        """Return the folder for one store and channel; `store_uri` is the absolute name that the store gives itself."""
        digest = hashlib.sha256(f"{store_uri}\n{self.channel}".encode()).hexdigest()
        return self.cache.expanduser() / f"{self.channel}-{digest[:12]}"

    @classmethod
    def variables(cls) -> Iterator[Variable]:
        """Yield every environment variable that can be set."""
        yield from _variables(cls, PREFIX)


def read_settings(**given: Any) -> ServingSettings:
    """Return the settings that the environment, `.env` and `given` say. Raises `InputError` for a bad one."""
    return read(ServingSettings, **given)


def _variables(model: type[BaseModel], prefix: str) -> Iterator[Variable]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            default = "" if field.default is None else str(field.default)
            yield Variable(f"{prefix}{name.upper()}", default, field.description or "")


def is_trustworthy_url(url: str) -> bool:
    """Tell whether nobody on the way can change what comes from an address: https, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        return _is_loopback(parts.hostname)
    return parts.scheme == "https" and bool(parts.hostname)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
