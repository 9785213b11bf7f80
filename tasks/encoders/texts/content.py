"""Which text of a product is encoded: its title, and the attributes that a run chooses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list
from lookalike.data.embeddings import HASH_BYTES
from lookalike.data.errors import InputError
from lookalike.tasks.encoders.texts.wordpiece import MOST_LETTERS

TITLE = "title"
DEFAULT_FIELDS = (TITLE,)
_BETWEEN = ", "


def parse_fields(fields: str | None) -> tuple[str, ...] | None:
    """Return the fields in `title,brand`; None where nobody names any. Raises `InputError`."""
    if fields is None:
        return None
    names = tuple(name.strip() for name in fields.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{fields!r} names no fields: write them as title,brand, each once")
    return names


def read_texts(products: pa.Table, fields: Sequence[str]) -> list[str]:
    """Return the text of each product; an empty one where it has none. Raises `InputError` for an unknown field."""
    parts = [_read_field(products, field) for field in fields]
    joined = parts[0]
    for part in parts[1:]:
        both = pc.and_(pc.not_equal(joined, ""), pc.not_equal(part, ""))
        between = pc.if_else(both, _BETWEEN, "")
        joined = pc.binary_join_element_wise(joined, between, part, "")
    texts: list[str] = joined.to_pylist()
    return texts


def hash_texts(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Return the sha256 of each text, as (n,) values of 32 bytes."""
    digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    return np.frombuffer(digests, f"V{HASH_BYTES}")


def _read_field(products: pa.Table, field: str) -> pa.Array:
    """Return a column as text without blanks at its ends, cut where no encoder looks further."""
    column = products[TITLE] if field == TITLE else _read_attribute(products, field)
    if is_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), " ")
    text = pc.fill_null(column.cast(pa.string()), "")
    cut = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(text, 0, MOST_LETTERS))
    return cut.combine_chunks() if isinstance(cut, pa.ChunkedArray) else cut


def _read_attribute(products: pa.Table, name: str) -> pa.ChunkedArray:
    there = ()
    if "attributes" in products.column_names:
        there = tuple(field.name for field in products.schema.field("attributes").type)
    if name not in there:
        raise InputError(
            f"there is no attribute {name!r} to encode; there are {', '.join(there) or 'none'}: "
            "name others with --text-fields"
        )
    return pc.struct_field(products["attributes"], name)
