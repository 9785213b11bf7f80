"""What is written: the JSON of the REST interface, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

ImageUrl = Annotated[
    str, Field(description="Path of the picture, from the server's root; of a hit with `view`, of that picture.")
]


class ProductReply(BaseModel):
    """A product, as its catalogue wrote it. `pictures` says how many it has, if it has several."""

    id: str
    title: str
    attributes: dict[str, Any]
    image_url: ImageUrl
    pictures: int = 1


class MatchReply(BaseModel):
    """A word of the query, and the word that products have for it.

    `how` is `word` for the very same, `beginning` if the query's word may be completed to it, and `spelling` if it is
    taken for a mistake.
    """

    word: str
    found: str
    how: str


class WhyReply(BaseModel):
    """What a hit was found by: the score of each channel, 0 to 1, and the words that it has.

    `example` is there where a query has several positive examples that are no texts: the place of the nearest in
    `positive`, from 0.
    """

    scores: dict[str, float]
    words: list[MatchReply]
    example: int | None = None


class LikeReply(BaseModel):
    """A product whose picture stands for a text; `weight` is its share, 0 to 1."""

    id: str
    title: str
    weight: float


class UnderstoodReply(BaseModel):
    """What the words of a query were taken for, and those that no product has.

    `looks_like` is there where titles say what a text looks like: the products whose pictures count most. `colours` is
    there where the text names colours that pictures are looked at for.
    """

    words: list[MatchReply]
    unknown: list[str]
    looks_like: list[LikeReply] = Field(default_factory=list)
    colours: list[str] = Field(default_factory=list)


class HitReply(BaseModel):
    """A product found; what `fields` does not name is not there.

    `score` is cosine similarity in the index's space, higher is closer; of a query with `text` it is the weighted mean
    of what each channel gives. `hidden` is there where duplicates are collapsed: how many other products of its group
    satisfy the filters. `why` is there where a query asks for it by `explain`. `view` is there where a product has
    several pictures: which of them is the nearest, the first being 1.
    """

    id: str
    title: str = ""
    attributes: dict[str, Any] = Field(default_factory=dict)
    image_url: ImageUrl = ""
    score: float = 0.0
    hidden: int = 0
    why: WhyReply | None = None
    view: int | None = None


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
    """Hits, best first, all from one snapshot; `facets` are there where the query asks for some.

    `total` is how many products satisfy the filters, however close they are. `understood` is there where a query with
    `text` asks for explanations.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"snapshot": _SNAPSHOT, "took_ms": 21.4, "total": 279, "hits": [_HIT], "facets": _FACETS}],
        }
    )

    snapshot: str
    took_ms: float
    total: int
    hits: list[HitReply]
    facets: dict[str, FacetReply] = Field(default_factory=dict)
    understood: UnderstoodReply | None = None


class CompletionReply(BaseModel):
    """A text that somebody may be about to type: its last `word` is completed or corrected.

    `products` says how many have that word, and the words before it where any has.
    """

    text: str
    word: str
    products: int


class SuggestReply(BaseModel):
    """What may be typed next, those first that most products have."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "snapshot": _SNAPSHOT,
                    "suggestions": [{"text": "red sneaker", "word": "sneaker", "products": 12}],
                }
            ]
        }
    )

    snapshot: str
    suggestions: list[CompletionReply]


class ProblemReply(BaseModel):
    """RFC 9457: `detail` says what to do, `code` never changes its meaning."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ResultReply(BaseModel):
    """The answer to one query of a batch: either `total`, `hits`, and `facets` where it asks for some, or `problem`."""

    total: int = 0
    hits: list[HitReply] = Field(default_factory=list)
    facets: dict[str, FacetReply] = Field(default_factory=dict)
    understood: UnderstoodReply | None = None
    problem: ProblemReply | None = None


_PROBLEM: dict[str, JsonValue] = {
    "type": "/problems#unknown_product",
    "title": "No such product",
    "status": 404,
    "detail": "There is no product 'none such' in this snapshot.",
    "code": "unknown_product",
    "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11",
}


_RESULT: dict[str, JsonValue] = {"total": 1520, "hits": [_HIT]}


class BatchReply(BaseModel):
    """One result for each query, in their order, all from one snapshot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"snapshot": _SNAPSHOT, "took_ms": 3.2, "results": [_RESULT, {"problem": _PROBLEM}]}],
        }
    )

    snapshot: str
    took_ms: float
    results: list[ResultReply]


class LineReply(ResultReply):
    """A line of a batch that is answered line by line: one query's result, with its place among the queries."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"place": 1, "snapshot": _SNAPSHOT, "took_ms": 3.2, **_RESULT}]}
    )

    place: int
    snapshot: str
    took_ms: float


class EncoderReply(BaseModel):
    """The encoder; `dimension` is the length of the vectors that a query may send."""

    name: str
    fingerprint: str
    dimension: int


class VectorReply(BaseModel):
    """The answer to one picture: either `vector`, or `problem`. A packed vector is base64 of 32-bit floats."""

    vector: list[float] | str = ""
    problem: ProblemReply | None = None


class EmbedReply(BaseModel):
    """One result for each picture, in their order, all by the encoder of one snapshot.

    `dimension` is the length of these vectors: the index's where they are `projected`, else the encoder's.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "snapshot": _SNAPSHOT,
                    "took_ms": 18.3,
                    "encoder": {"name": "efficientnet-lite0", "fingerprint": "6c3f…", "dimension": 3},
                    "dimension": 3,
                    "projected": False,
                    "results": [{"vector": [0.12, -0.03, 0.4]}, {"problem": _PROBLEM}],
                }
            ],
        }
    )

    snapshot: str
    took_ms: float
    encoder: EncoderReply
    dimension: int
    projected: bool
    results: list[VectorReply]


class OneProductReply(ProductReply):
    """A product and the snapshot that it was read from."""

    snapshot: str


class ProductsReply(BaseModel):
    """Some of the `total` products of a snapshot that satisfy the filters."""

    snapshot: str
    total: int
    products: list[ProductReply]
    facets: dict[str, FacetReply] = Field(default_factory=dict)


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
