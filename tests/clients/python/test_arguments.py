"""What a search takes, and what it refuses before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.serving import replies
from lookalike_client import Query, picture
from lookalike_client.addresses import product_path
from lookalike_client.examples import MAX_PICTURE_BYTES, read_example
from lookalike_client.query import ReadQuery
from tests.support.shop import product_ids


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "nothing to search with"),
        ({"product": "a", "vector": [1.0]}, "both product and vector"),
        ({"product": "a", "crop": (0, 0, 1, 1)}, "crop belongs to one picture"),
        ({"product": "a", "size": 7}, "there is no argument 'size'"),
        ({"product": "a", "k": "7"}, "k is str: give a whole number"),
        ({"product": "a", "k": True}, "k is bool"),
        ({"product": "a", "k": 1.5}, "k is float"),
        ({"product": "a", "min_score": "high"}, "min_score is str: give a number"),
        ({"product": "a", "filter": 7}, "filter is int: give a condition"),
        ({"product": "a", "filter": [7]}, "filter is list: give a condition"),
        ({"product": "a", "facets": [1]}, "facets is list: give a text"),
        ({"product": 7}, "product is int: give a text"),
        ({"positive": "a.png"}, "positive is str: give a list of examples"),
        ({"url": "https://a/", "crop": (0, 0, 1)}, "crop is tuple: give left"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Query(**arguments)


@pytest.mark.parametrize(
    "source", [7, object(), {"a": 1}, ["a"], np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.array(["a"])]
)
def test_what_is_nothing_to_search_with(source: Any) -> None:
    with pytest.raises(TypeError, match="nothing to search with"):
        read_example(source)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_example(tmp_path / "none.png")
    (tmp_path / "text").write_text("text")
    with (tmp_path / "text").open() as file, pytest.raises(TypeError, match="mode 'rb'"):
        read_example(file)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    with pytest.raises(ValueError, match="64 MiB"):
        read_example(tmp_path / "huge")


def test_none_means_that_nothing_is_said() -> None:
    assert ReadQuery(Query(product="a", k=None, filter=None)).to_json() == {"product_id": "a"}  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    read = ReadQuery(Query(vector=np.array([1, 2], np.int64), k=np.int64(3), min_score=np.float32(0.5)))  # type: ignore[arg-type]
    assert read.to_json() == {"vector": [1.0, 2.0], "k": 3, "min_score": 0.5}


def test_a_form_where_it_says_all() -> None:
    assert ReadQuery(Query(b"x", k=2, filter=["a=1", "b=2"], crop=(0, 0, 0.5, 1))).to_form() == [
        ("image", b"x"),
        ("crop", "0.0,0.0,0.5,1.0"),
        ("k", "2"),
        ("filter", "a=1"),
        ("filter", "b=2"),
    ]
    for query in (
        Query(product="a"),
        Query(b"x", negative=[b"y"]),
        Query(b"x", filter={"attribute": "a"}),
        Query(positive=[b"x", picture(b"y", crop=(0, 0, 1, 1))]),
    ):
        assert ReadQuery(query).to_form() is None


def test_a_query_is_shown_without_its_pictures() -> None:
    assert repr(Query(b"x" * 1000, k=3)) == "Query(bytes, k=…)"
    assert repr(picture(b"x" * 1000)) == "Picture(1000 bytes, crop=None)"


@pytest.mark.parametrize(
    "product", [*product_ids(12), ".", "..", "a//b", "/", "a/../b", "ä ?#%", "similar", "x/similar"]
)
@pytest.mark.parametrize("part", ["", "image", "similar"])
def test_addresses_are_those_of_the_server(product: str, part: str) -> None:
    path, params = product_path(product, part)
    query = "&".join(f"{name}={value}" for name, value in params.items())
    assert (f"{path}?{query}" if query else path) == replies.product_path(product, part)
