"""Which text of a product is encoded."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest

from lookalike.data.errors import InputError
from lookalike.tasks.encoders.texts.content import hash_texts, parse_fields, read_texts

PRODUCTS = pa.table(
    {
        "title": [" Red shoe ", None, "", "x" * 5_000_000],
        "attributes": [
            {"brand": "Acme", "tags": ["new", "sale"], "price": 9.5},
            {"brand": "Acme", "tags": None, "price": None},
            {"brand": None, "tags": [], "price": 1.0},
            {"brand": None, "tags": None, "price": None},
        ],
    }
)


def test_a_title() -> None:
    texts = read_texts(PRODUCTS, ("title",))
    assert texts[:3] == ["Red shoe", "", ""]
    assert len(texts[3]) == 20_000


def test_fields_are_joined_where_they_are_there() -> None:
    texts = read_texts(PRODUCTS, ("title", "brand", "tags", "price"))
    assert texts[:3] == ["Red shoe, Acme, new sale, 9.5", "Acme", "1"]


def test_an_unknown_field() -> None:
    with pytest.raises(InputError, match="there is no attribute 'colour' to encode; there are brand, tags, price"):
        read_texts(PRODUCTS, ("title", "colour"))
    with pytest.raises(InputError, match="there are none"):
        read_texts(PRODUCTS.select(["title"]), ("brand",))


@pytest.mark.parametrize("fields", ["", "title,", "title,title", " , "])
def test_fields_that_are_none(fields: str) -> None:
    with pytest.raises(InputError, match="each once"):
        parse_fields(fields)


def test_fields() -> None:
    assert parse_fields(None) is None
    assert parse_fields("title, brand") == ("title", "brand")


def test_hashes_are_those_of_the_text() -> None:
    assert hash_texts(["a", "ß"]).tolist() == [hashlib.sha256(text.encode()).digest() for text in ("a", "ß")]
    assert len(hash_texts([])) == 0
