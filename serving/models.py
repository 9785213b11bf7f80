"""What is read and written: the JSON of the REST interface."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator
from starlette.responses import Response

from data.products import Product
from serving.addresses import product_path
from tasks.searcher import Hit

MAX_VECTOR = 65_536
DEFAULT_K = 10

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
ImageUrl = Annotated[str, Field(description="Path of the picture, from the server's root.")]


class SearchRequest(BaseModel):
    """A query: exactly one of `image`, `product_id` and `vector`."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = Field(None, description="A picture as base64; a `data:` URL is understood too.")
    product_id: str | None = Field(None, description="A product: find what looks like it, itself left out.")
    vector: list[Number] | None = Field(
        None, fail_fast=True, max_length=MAX_VECTOR, description="A vector of the snapshot's encoder."
    )
    k: StrictInt = Field(DEFAULT_K, description="How many hits.")
    offset: StrictInt = Field(0, description="How many hits to skip.")
    filter: list[str] = Field(
        default_factory=list,
        description="Conditions that must all hold: `category=shoes`, `price<=50`, `brand in acme,zeta`.",
    )

    @field_validator("filter", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else [] if value is None else value


class ProductReply(BaseModel):
    """A product, as its catalogue wrote it."""

    id: str
    title: str
    attributes: dict[str, Any]
    image_url: ImageUrl


class HitReply(ProductReply):
    """A product found; `score` is cosine similarity in the index's space, higher is closer."""

    score: float


class SearchReply(BaseModel):
    """Hits, best first, all from one snapshot."""

    snapshot: str
    took_ms: float
    hits: list[HitReply]


class OneProductReply(ProductReply):
    """A product and the snapshot that it was read from."""

    snapshot: str


class ProductsReply(BaseModel):
    """Some products of a snapshot, in the order of the index: as mixed as a shuffled deck."""

    snapshot: str
    total: int
    products: list[ProductReply]


class EncoderReply(BaseModel):
    """The encoder; `dimension` is the length of the vectors that a query may send."""

    name: str
    fingerprint: str
    dimension: int


class IndexReply(BaseModel):
    """The index, and why it was chosen."""

    key: str
    dimension: int
    metric: str
    shards: int
    nprobe: int | None
    trained_on: int
    reason: str


class ChannelReply(BaseModel):
    """The channel's entry that put the snapshot into service."""

    name: str
    number: int
    moved_at: datetime
    reason: str


class AttributeReply(BaseModel):
    """An attribute to filter by; `values` has counts where there are only a few values."""

    type: str
    values: dict[str, int] | None


class SnapshotReply(BaseModel):
    """What is being served, with the figures of its manifest."""

    id: str
    created_at: datetime
    products: int
    attribution: str
    encoder: EncoderReply
    index: IndexReply
    quality: dict[str, float]
    parent: str | None
    channel: ChannelReply
    attributes: dict[str, AttributeReply]


class HeldReply(BaseModel):
    """A snapshot in memory. `state` is `serving`, or `retiring` while its last queries finish."""

    id: str
    state: str
    since: datetime
    queries: int
    products: int


class SnapshotsReply(BaseModel):
    """The snapshots in memory, the one that is served first."""

    snapshots: list[HeldReply]


class StoreReply(BaseModel):
    """What is known about the store."""

    state: str
    detail: str


class RefusedReply(BaseModel):
    """A published snapshot that cannot be served."""

    snapshot: str
    reason: str
    attempts: int


class ReadyReply(BaseModel):
    """Whether queries are answered, and what is known about where answers come from."""

    ready: bool
    detail: str
    snapshot: str | None
    proved_seconds_ago: float | None
    store: StoreReply
    refused: RefusedReply | None


class LiveReply(BaseModel):
    """The process answers."""

    live: bool = True


class ReloadReply(BaseModel):
    """Every server process of this machine looks at the channel now; `snapshot` is what was served until then."""

    snapshot: str | None


class ProblemReply(BaseModel):
    """RFC 9457: `detail` says what to do, `code` never changes its meaning."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


def reply(model: BaseModel, status: int = 200) -> Response:
    """Return a model as a response, past FastAPI's second validation of it."""
    return Response(model.model_dump_json(), status_code=status, media_type="application/json")


def product_reply(product: Product) -> ProductReply:
    """Return a product as it is written."""
    return ProductReply.model_construct(**_fields(product))


def hit_reply(hit: Hit) -> HitReply:
    """Return a hit as it is written."""
    return HitReply.model_construct(**_fields(hit.product), score=round(hit.score, 6))


def _fields(product: Product) -> dict[str, Any]:
    return {
        "id": product.id,
        "title": product.title,
        "attributes": {name: plain(value) for name, value in product.attributes.items()},
        "image_url": product_path(product.id, "image"),
    }


def plain(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return an attribute's value as JSON has it: Parquet knows more types, and JSON no NaN."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value)
