"""Results: what a server answers, as values that do not change.

What a product can be asked for comes with the client: `Product` and `Hit` with `Client`, `AsyncProduct` and `AsyncHit`
with `AsyncClient`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from lookalike_client.arguments import SearchOptions

if TYPE_CHECKING:
    from lookalike_client.async_client import AsyncClient
    from lookalike_client.client import Client

ItemT = TypeVar("ItemT", bound="ProductFields")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFields:
    """A product as its catalogue wrote it, and the snapshot that it was read from.

    What `fields` left out is empty. `view` says which of several pictures `image` returns: the first one, and of a hit
    the nearest. It is None where the product has one picture, or where nobody said it.
    """

    id: str
    title: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    image_url: str = ""
    snapshot: str = ""
    pictures: int = 1
    view: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(ProductFields):
    """A product that can be asked for its picture and its lookalikes."""

    client: Client = field(repr=False, compare=False)

    def image(self, *, size: int | None = None, view: int | None = None) -> bytes:
        """Return a picture; with `size` (64, 128, 256, 512 or 1024) a small JPEG of it.

        `view` says which of several pictures; without it that is the product's own `view`.
        """
        return self.client.image(self.id, size=size, view=view or self.view)

    def similar(self, **options: Unpack[SearchOptions]) -> SearchResult[Hit]:
        """Return the product's lookalikes."""
        return self.client.search(product=self.id, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A word of the query, and the word that products have for it.

    `how` is `word`, `beginning` (the query's word was completed) or `spelling` (it was corrected).
    """

    word: str
    found: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What a hit was found by: the score of each channel, and the words that it has.

    `example` is the place, from 0, of the nearest of several positive examples; None where fewer than two of them are
    pictures, products or vectors.
    """

    scores: Mapping[str, float] = field(hash=False)
    words: Sequence[Match]
    example: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Like:
    """A product whose picture stands for a text; `weight` is its share, 0 to 1."""

    id: str
    title: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What the words of a query were taken for, and those that no product has.

    `looks_like` are the products whose pictures count most, where titles say what a text looks like. `colours` are
    those that the text names, where pictures are looked at for them.
    """

    words: Sequence[Match]
    unknown: Sequence[str]
    looks_like: Sequence[Like] = ()
    colours: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A text with its last `word` completed or corrected, and how many products it is about."""

    text: str
    word: str
    products: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Product):
    """A product found.

    `score` is the cosine similarity, or of a query with a text the weighted mean of its channels: higher is closer, NaN
    if `fields` left it out. `hidden` counts the other products of its group of duplicates. `why` is there where a query
    asks for it by `explain`. `view` is the nearest of several pictures, the first being 1.
    """

    score: float
    hidden: int = 0
    why: Why | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncProduct(ProductFields):
    """A product that can be asked for its picture and its lookalikes."""

    client: AsyncClient = field(repr=False, compare=False)

    async def image(self, *, size: int | None = None, view: int | None = None) -> bytes:
        """Return a picture; with `size` (64, 128, 256, 512 or 1024) a small JPEG of it.

        `view` says which of several pictures; without it that is the product's own `view`.
        """
        return await self.client.image(self.id, size=size, view=view or self.view)

    async def similar(self, **options: Unpack[SearchOptions]) -> SearchResult[AsyncHit]:
        """Return the product's lookalikes."""
        return await self.client.search(product=self.id, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncHit(AsyncProduct):
    """A product found, as `Hit` is."""

    score: float
    hidden: int = 0
    why: Why | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """The most frequent values with their counts, how many others there are, and how many products have none.

    `low` and `high` are there for numbers, dates and times.
    """

    values: Mapping[str, int] = field(hash=False)
    others: int
    missing: int
    low: float | str | None = None
    high: float | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult(Generic[ItemT]):
    """Hits, best first, all from one snapshot. It can be used as a sequence of its hits.

    `total` is how many products satisfy the filters, however close they are; None from a server that does not say it.
    `understood` is there where a query with a text asks for it by `explain`.
    """

    hits: Sequence[ItemT]
    snapshot: str
    took_ms: float
    facets: Mapping[str, Facet] = field(default_factory=dict, hash=False)
    request_id: str | None = None
    understood: Understood | None = None
    total: int | None = None

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> ItemT:
        return self.hits[place]

    def _repr_html_(self) -> str:
        from lookalike_client.notebook import write_table  # noqa: PLC0415 - notebooks only

        return write_table(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Products(Generic[ItemT]):
    """Some products of a snapshot; `total` is how many satisfy the filters."""

    products: Sequence[ItemT]
    total: int
    snapshot: str
    facets: Mapping[str, Facet] = field(default_factory=dict, hash=False)

    def __len__(self) -> int:
        return len(self.products)

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self.products)

    def __getitem__(self, place: int) -> ItemT:
        return self.products[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """An attribute to filter by; `values` has counts where there are only a few values."""

    type: str
    values: Mapping[str, int] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """The encoder; `dimension` is the length of the vectors that a query may send."""

    name: str
    fingerprint: str
    dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is served: `index` and `channel` are as the server wrote them."""

    id: str
    created_at: datetime
    products: int
    encoder: Encoder
    attribution: str = ""
    parent: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict, hash=False)
    quality: Mapping[str, float] = field(default_factory=dict, hash=False)
    index: Mapping[str, Any] = field(default_factory=dict, hash=False)
    channel: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSnapshot:
    """A snapshot in the server's memory. `state` is `serving`, or `retiring` while it still answers."""

    id: str
    state: str
    since: datetime
    queries: int
    products: int
