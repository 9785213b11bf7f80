"""A snapshot that is held in memory: opened, proven, and counted by the queries that use it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa
from PIL import Image

from data.attributes import is_text, item_type, type_name
from data.channels import Entry
from data.manifest import Manifest
from data.products import Products
from serving.facets import count_values
from tasks.searcher import Searcher


def blank_picture() -> bytes:
    """Return a small picture that every encoder must be able to encode."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 120, 60)).save(buffer, "PNG")
    return buffer.getvalue()


BLANK = blank_picture()


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the products: its type, and its values with their counts where there are few."""

    type: str
    values: dict[str, int] | None


@dataclass(eq=False)
class Held:
    """One snapshot in memory. `queries` are using it now.

    When it is retired it is let go after `held_until`, on the monotonic clock, and when its queries have ended.
    """

    searcher: Searcher
    entry: Entry
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    queries: int = 0
    held_until: float = 0.0

    @property
    def manifest(self) -> Manifest:
        """What the snapshot is made of."""
        return self.searcher.manifest

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """The attributes that products can be filtered by."""
        products = self.searcher.products
        return {name: _attribute(products, name, kind) for name, kind in sorted(products.attributes.items())}


def prove(searcher: Searcher) -> None:
    """Send a picture and a product through a snapshot before anybody depends on it. Raises what goes wrong."""
    searcher.search(searcher.embed(BLANK), 1)
    searcher.similar(searcher.products.any_id(), 1)


def _attribute(products: Products, name: str, kind: pa.DataType) -> Attribute:
    if not (is_text(item_type(kind)) or pa.types.is_boolean(kind)):
        return Attribute(type_name(kind), None)
    facet = count_values(products, name, None)
    return Attribute(type_name(kind), None if facet.others else facet.values)
