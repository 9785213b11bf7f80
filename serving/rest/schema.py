"""What is read and written: the JSON of the REST interface, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lookalike.serving.search.query import NEGATIVE_WEIGHT

MAX_VECTOR = 65_536
UNKNOWN_FIELD = "unknown_field"  # pydantic's type of that error
DEFAULT_K = 10

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
ImageUrl = Annotated[str, Field(description="Path of the picture, from the server's root.")]


def _listed(value: Any) -> Any:
    """One is as good as a list of it, and null as none."""
    return [value] if isinstance(value, str | dict) else [] if value is None else value


CropBox = Annotated[
    list[Number],
    Field(
        fail_fast=True,
        description="The part that counts: left, top, right, bottom as fractions of the upright picture, 0 to 1.",
        examples=[[0.1, 0.0, 0.6, 0.9]],
    ),
]
Vector = Annotated[list[Number], Field(fail_fast=True, max_length=MAX_VECTOR)]
Texts = Annotated[list[str], Field(fail_fast=True), BeforeValidator(_listed)]


Scalar = StrictBool | StrictInt | Number | str


class _Request(BaseModel):
    """An object of a request. Checking it stops at the first fault: a body may have a million of them.

    For the same reason each list in a request fails fast.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        unknown = (
            next((name for name in given if name not in cls.model_fields), None) if isinstance(given, dict) else None
        )
        if unknown is not None:
            raise PydanticCustomError(UNKNOWN_FIELD, "unknown field", {"name": unknown})
        return given


class ConditionRequest(_Request):
    """A condition in parts, where names or values hold what a text would need quotes for."""

    attribute: str
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "is null", "is not null"] = "="
    value: Scalar | Annotated[list[Scalar], Field(fail_fast=True)] | None = Field(
        None, description="A list for `in` and `not in`, none for `is null` and `is not null`."
    )


class ExampleRequest(_Request):
    """An example: exactly one of `image`, `url`, `product_id` and `vector`."""

    image: str | None = Field(
        None,
        description="A picture as base64; a `data:` URL is understood too.",
        json_schema_extra={"format": "byte"},
    )
    url: str | None = Field(None, description="Where a picture is, for servers that fetch from that host.")
    product_id: str | None = Field(None, description="A product of the catalogue; it is left out of the hits.")
    vector: Vector | None = Field(None, description="A vector of the snapshot's encoder.")
    crop: CropBox | None = None


class SearchRequest(ExampleRequest):
    """A query: exactly one of `image`, `url`, `product_id`, `vector` and `positive`."""

    positive: list[ExampleRequest] | None = Field(
        None,
        min_length=1,
        fail_fast=True,
        description="Several examples: pictures of one thing, or things that hits shall look like.",
    )
    negative: list[ExampleRequest] = Field(
        default_factory=list, fail_fast=True, description="Examples of what hits shall look less like."
    )
    negative_weight: Annotated[Number, Field(ge=0, le=1)] = Field(
        NEGATIVE_WEIGHT, description="How much those count, beside 1 for the others together."
    )
    k: StrictInt = Field(DEFAULT_K, description="How many hits.")
    offset: StrictInt = Field(0, description="How many hits to skip.")
    filter: Annotated[list[str | ConditionRequest], Field(fail_fast=True), BeforeValidator(_listed)] = Field(
        default_factory=list,
        description="Conditions that must all hold: `category=shoes`, `price<=50`, `brand in acme,zeta`, "
        "`colour is null`, or each as an object.",
    )
    min_score: Number | None = Field(None, description="Leave out hits with a lower score, -1 to 1.")
    group_by: str | None = Field(
        None, description="An attribute: of the hits with one value of it, only the best is a hit."
    )
    collapse: Literal["duplicates", "exact"] | None = Field(
        None,
        description="Of the hits that show the same picture only the best is a hit: `exact` for the same file, "
        "`duplicates` for near-duplicates too.",
    )
    facets: Texts = Field(
        default_factory=list, description="Attributes whose values are counted among all products that fit the filters."
    )
    fields: Texts = Field(
        default_factory=list,
        description="What to send of each hit beside its id: `title`, `attributes`, `attributes.NAME`, `image_url`, "
        "`score`; default: all.",
    )
    snapshot: str | None = Field(
        None, description="Ask this snapshot, which an earlier reply named: so that pages fit together."
    )


_A_QUERY = {"$ref": f"#/components/schemas/{SearchRequest.__name__}"}


class BatchRequest(_Request):
    """Several queries; all are answered from one snapshot, and each for itself."""

    queries: Annotated[list[Any], WithJsonSchema({"type": "array", "items": _A_QUERY, "minItems": 1})] = Field(
        description="Queries as of `POST /v1/search`, without `snapshot`."
    )
    snapshot: str | None = Field(None, description="The snapshot to ask; default: the one that is served.")


class ProductReply(BaseModel):
    """A product, as its catalogue wrote it."""

    id: str
    title: str
    attributes: dict[str, Any]
    image_url: ImageUrl


class HitReply(BaseModel):
    """A product found; what `fields` does not name is not there.

    `score` is cosine similarity in the index's space, higher is closer. `hidden` is there where duplicates are
    collapsed: how many other products of its group satisfy the filters.
    """

    id: str
    title: str = ""
    attributes: dict[str, Any] = Field(default_factory=dict)
    image_url: ImageUrl = ""
    score: float = 0.0
    hidden: int = 0


class FacetReply(BaseModel):
    """The most frequent values with their counts, 50 at most, and how many other values there are.

    `missing` counts products without a value; `min` and `max` are there for numbers, dates and times.
    """

    values: dict[str, int]
    others: int
    missing: int
    min: float | int | str = 0
    max: float | int | str = 0


_HIT: dict[str, JsonValue] = {
    "id": "shoes/red sneaker.png",
    "title": "Red sneaker",
    "attributes": {"category": "shoes", "price": 49.0},
    "image_url": "/v1/products/shoes/red%20sneaker.png/image",
    "score": 0.912345,
}
_FACETS: dict[str, JsonValue] = {"category": {"values": {"shoes": 212, "boots": 64}, "others": 0, "missing": 3}}
_SNAPSHOT = "20261122T151830Z-3f9a1c2b"


class SearchReply(BaseModel):
    """Hits, best first, all from one snapshot; `facets` are there where the query asks for some."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"snapshot": _SNAPSHOT, "took_ms": 21.4, "hits": [_HIT], "facets": _FACETS}],
        }
    )

    snapshot: str
    took_ms: float
    hits: list[HitReply]
    facets: dict[str, FacetReply] = Field(default_factory=dict)


class ProblemReply(BaseModel):
    """RFC 9457: `detail` says what to do, `code` never changes its meaning."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ResultReply(BaseModel):
    """The answer to one query of a batch: either `hits`, and `facets` where it asks for some, or `problem`."""

    hits: list[HitReply] = Field(default_factory=list)
    facets: dict[str, FacetReply] = Field(default_factory=dict)
    problem: ProblemReply | None = None


_PROBLEM: dict[str, JsonValue] = {
    "type": "/problems#unknown_product",
    "title": "No such product",
    "status": 404,
    "detail": "There is no product 'none such' in this snapshot.",
    "code": "unknown_product",
    "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11",
}


class BatchReply(BaseModel):
    """One result for each query, in their order, all from one snapshot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"snapshot": _SNAPSHOT, "took_ms": 3.2, "results": [{"hits": [_HIT]}, {"problem": _PROBLEM}]}],
        }
    )

    snapshot: str
    took_ms: float
    results: list[ResultReply]


class OneProductReply(ProductReply):
    """A product and the snapshot that it was read from."""

    snapshot: str


class ProductsReply(BaseModel):
    """Some products of a snapshot, in the order of the index: as mixed as a shuffled deck."""

    snapshot: str
    total: int
    products: list[ProductReply]
    facets: dict[str, FacetReply] = Field(default_factory=dict)


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
    ef_search: int | None
    k_factor: int | None
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
    """A snapshot in memory. `state` is `serving`, or `retiring` while it still answers those who name it."""

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

    live: bool


class ReloadReply(BaseModel):
    """Every server process of this machine looks at the channel now; `snapshot` is what was served until then."""

    snapshot: str | None
