"""A snapshot that is held in memory: opened, proven, and counted by the queries that use it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from data.channels import Entry
from data.manifest import Manifest
from data.products import Products
from tasks.searcher import Searcher

MAX_FACET_VALUES = 50  # more than these, and a list of them helps nobody


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
    """One snapshot in memory. `queries` are using it now; it is let go when it is retired and they have ended."""

    searcher: Searcher
    entry: Entry
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    queries: int = 0

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
    column = products.attribute(name)
    if products.alive is not None:
        column = column.filter(pa.array(products.alive))
    if pa.types.is_list(kind):
        values = _facet(column.flatten()) if _is_text(kind.value_type) else None
        return Attribute(f"list of {_type_name(kind.value_type)}", values)
    return Attribute(_type_name(kind), _facet(column) if _is_text(kind) or pa.types.is_boolean(kind) else None)


def _facet(column: pa.Array) -> dict[str, int] | None:
    known = column.drop_null()
    if pc.count_distinct(known).as_py() > MAX_FACET_VALUES:
        return None
    counts: list[dict[str, Any]] = pc.value_counts(known).to_pylist()
    ordered = sorted(counts, key=lambda entry: (-entry["counts"], str(entry["values"])))
    return {_text(entry["values"]): entry["counts"] for entry in ordered}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _type_name(kind: pa.DataType) -> str:
    if _is_text(kind):
        return "string"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return str(kind)
