"""The queries of the suite: shapes times options, and all that can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.serving.conformance.adapters import Query
from tests.support.shop import ODD_ID, picture

DIMENSION = 192
"""Of the `fake` encoder."""
MADE_UP_KEY = "lk_0000000000000000_notakeyofthisserver"


@dataclass(frozen=True, slots=True)
class Case:
    """One query, and the code that it ends with; None for hits. `key` names one of the server's keys."""

    name: str
    query: Query
    code: str | None = None
    key: str = "search"


@dataclass(frozen=True, slots=True)
class BatchCase:
    """Several queries, with the code of the whole, and those of each.

    `is_of_items`: the same queries, one by one, have the same codes and answers.
    """

    name: str
    queries: Sequence[Query]
    codes: Sequence[str | None] = ()
    code: str | None = None
    snapshot: str | None = None
    key: str = "search"
    is_of_items: bool = False


def _vector(seed: int) -> list[float]:
    numbers = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return [float(number) for number in numbers]


def _packed(seed: int) -> bytes:
    return np.asarray(_vector(seed), "<f4").tobytes()


CROP = [0.1, 0.0, 0.8, 0.9]

EXAMPLES: Mapping[str, Query] = {
    "product": {"product_id": "a"},
    "odd product": {"product_id": ODD_ID},
    "png": {"image": picture(3)},
    "jpeg": {"image": picture(100, kind="JPEG")},
    "crop": {"image": picture(101), "crop": CROP},
    "vector": {"vector": _vector(1)},
    "packed vector": {"vector": _packed(2)},
    "two products": {"positive": [{"product_id": "a"}, {"product_id": "a/image"}]},
    "best of two, explained": {
        "positive": [{"text": "red"}, {"product_id": "a"}, {"image": picture(5)}],
        "combine": "best",
        "explain": True,
    },
    "mixed, explained": {
        "positive": [{"image": picture(5), "crop": CROP}, {"vector": _packed(3)}, {"product_id": "a"}],
        "explain": True,
    },
    "mixed": {"positive": [{"image": picture(5), "crop": CROP}, {"vector": _packed(3)}, {"product_id": "a"}]},
    "negative": {"product_id": "a", "negative": [{"product_id": ODD_ID}], "negative_weight": 0.5},
    "text": {"text": "product 1"},
    "mistyped text": {"text": "prodct xyzzy bleu re", "explain": True},
    "picture and text": {"image": picture(3), "text": "product 4 red", "weights": {"words": 0.5}, "explain": True},
    "product and text": {"product_id": "a", "text": "sale", "weight": 2.0},
    "texts": {"positive": [{"text": "product"}, {"text": "7", "weight": 0.5}], "negative": [{"text": "red"}]},
    "text and picture": {"positive": [{"text": "blue"}, {"image": picture(5)}], "negative": [{"product_id": "a"}]},
    "negative picture": {"vector": _vector(4), "negative": [{"image": picture(6)}]},
}

OPTIONS: Mapping[str, Query] = {
    "plain": {},
    "few": {"k": 3},
    "page": {"k": 4, "offset": 3},
    "beyond the last": {"k": 5, "offset": 500},
    "filter": {"filter": ["category=shoes"]},
    "filters": {"filter": ["price<=20", "new=true"]},
    "list filter": {"filter": ["tags in red,green"]},
    "condition": {"filter": [{"attribute": "category", "operator": "in", "value": ["shoes", "bags"]}]},
    "conditions": {
        "filter": [
            {"attribute": "stock", "operator": ">=", "value": 3},
            {"attribute": "price", "operator": "<", "value": 25.5},
            {"attribute": "new", "value": False},
        ]
    },
    "no value": {"filter": [{"attribute": "note", "operator": "is null"}]},
    "date": {"filter": ["added>=2026-11-05"]},
    "nothing left": {"filter": ["stock>100000"]},
    "score": {"min_score": 0.4},
    "groups": {"group_by": "category", "k": 5},
    "collapsed": {"collapse": "duplicates", "k": 24},
    "same file": {"collapse": "exact", "k": 24},
    "facets": {"facets": ["category", "price", "tags", "added"], "filter": ["new=true"]},
    "facets of hits": {
        "facets": ["category", "price", "tags", "added"],
        "filter": ["category=shoes", "new=true"],
        "facets_of": "hits",
        "reach": 15,
    },
    "by price": {"sort": "price:asc", "k": 24},
    "by date, a page": {"sort": "added:desc", "k": 4, "offset": 3, "filter": ["new=true"], "reach": 9},
    "worst first, in groups": {"sort": "score:asc", "group_by": "category", "k": 5},
    "fields": {"fields": ["title", "score"]},
    "best of the examples": {"combine": "best", "k": 24},
    "attributes": {"fields": ["attributes.price", "attributes.note", "image_url"], "k": 24},
    "all": {"k": 2, "facets": ["note"], "fields": ["score"], "filter": ["stock>1"], "min_score": -1.0},
}

_PICTURE = picture(7)
_MANY = [{"product_id": "a"}] * 17

PROBLEMS: Mapping[str, tuple[Query, str]] = {
    "nothing": ({}, "no_query"),
    "only options": ({"k": 3}, "no_query"),
    "picture and product": ({"image": _PICTURE, "product_id": "a"}, "several_queries"),
    "vector and positive": ({"vector": _vector(1), "positive": [{"product_id": "a"}]}, "several_queries"),
    "empty example": ({"positive": [{}]}, "no_query"),
    "two in an example": ({"positive": [{"product_id": "a", "vector": _packed(1)}]}, "several_queries"),
    "unknown product": ({"product_id": "nobody"}, "unknown_product"),
    "unknown example": ({"positive": [{"product_id": "a"}, {"product_id": "nobody"}]}, "unknown_product"),
    "unknown negative": ({"product_id": "a", "negative": [{"product_id": "nobody"}]}, "unknown_product"),
    "empty picture": ({"image": b""}, "image_empty"),
    "no picture": ({"image": b"this is a text, and no picture"}, "image_not_an_image"),
    "cut picture": ({"image": _PICTURE[: len(_PICTURE) // 2]}, "image_damaged"),
    "small picture": ({"image": picture(8, (9, 9)), "crop": [0.0, 0.0, 0.01, 0.01]}, "image_too_small"),
    "bad picture among good ones": ({"positive": [{"image": _PICTURE}, {"image": b"no"}]}, "image_not_an_image"),
    "empty text": ({"text": ""}, "bad_text"),
    "text without a word": ({"positive": [{"text": "?!"}]}, "bad_text"),
    "long text": ({"text": "x" * 513}, "bad_text"),
    "text beside positive": ({"text": "a", "positive": [{"product_id": "a"}]}, "several_queries"),
    "weights of nothing": ({"text": "a", "weights": {"others": 1.0}}, "bad_weights"),
    "no weight": ({"text": "a", "weights": {"words": 0.0, "meaning": 0.0, "looks": 0.0}}, "bad_weights"),
    "heavy weights": ({"text": "a", "weights": {"words": 1000.0}}, "bad_weights"),
    "short vector": ({"vector": [1.0, 2.0]}, "vector_length"),
    "short packed vector": ({"vector": _packed(1)[:-4]}, "vector_length"),
    "empty vector": ({"vector": []}, "vector_length"),
    "zero vector": ({"vector": [0.0] * DIMENSION}, "vector_zero"),
    "cancelled out": ({"product_id": "a", "negative": [{"product_id": "a"}], "negative_weight": 1.0}, "vector_zero"),
    "heavy negative": ({"product_id": "a", "negative": [{"product_id": ODD_ID}], "negative_weight": 2.0}, "bad_field"),
    "no hits wanted": ({"product_id": "a", "k": 0}, "bad_k"),
    "too many hits": ({"product_id": "a", "k": 1001}, "bad_k"),
    "negative k": ({"product_id": "a", "k": -5}, "bad_k"),
    "negative offset": ({"product_id": "a", "offset": -1}, "bad_offset"),
    "far offset": ({"product_id": "a", "offset": 10_001}, "bad_offset"),
    "high score": ({"product_id": "a", "min_score": 1.5}, "bad_min_score"),
    "crop of a product": ({"product_id": "a", "crop": CROP}, "bad_crop"),
    "crop beside positive": ({"positive": [{"image": _PICTURE}], "crop": CROP}, "bad_crop"),
    "crop inside out": ({"image": _PICTURE, "crop": [0.5, 0.0, 0.2, 1.0]}, "bad_crop"),
    "crop outside": ({"image": _PICTURE, "crop": [0.0, 0.0, 1.2, 1.0]}, "bad_crop"),
    "too many examples": ({"positive": _MANY}, "too_many_examples"),
    "too many filters": ({"product_id": "a", "filter": ["stock>1"] * 33}, "too_many_filters"),
    "filter without a condition": ({"product_id": "a", "filter": ["category"]}, "bad_filter"),
    "filter of words": ({"product_id": "a", "filter": ["price>=cheap"]}, "bad_filter"),
    "operator without a list": (
        {"product_id": "a", "filter": [{"attribute": "stock", "operator": "in", "value": 3}]},
        "bad_filter",
    ),
    "value for is null": (
        {"product_id": "a", "filter": [{"attribute": "note", "operator": "is null", "value": 3}]},
        "bad_filter",
    ),
    "no value for equals": ({"product_id": "a", "filter": [{"attribute": "note"}]}, "bad_filter"),
    "unknown operator": (
        {"product_id": "a", "filter": [{"attribute": "stock", "operator": "~", "value": 3}]},
        "bad_filter",
    ),
    "filter by nothing": ({"product_id": "a", "filter": ["flavour=red"]}, "unknown_attribute"),
    "facet of nothing": ({"product_id": "a", "facets": ["flavour"]}, "unknown_attribute"),
    "groups of nothing": ({"product_id": "a", "group_by": "flavour"}, "unknown_attribute"),
    "groups of a list": ({"product_id": "a", "group_by": "tags"}, "bad_group_by"),
    "fields of nothing": ({"product_id": "a", "fields": ["attributes.flavour"]}, "unknown_attribute"),
    "order of texts": ({"product_id": "a", "sort": "category:asc"}, "bad_sort"),
    "order of lists": ({"product_id": "a", "sort": "tags"}, "bad_sort"),
    "order of nothing": ({"product_id": "a", "sort": "flavour:desc"}, "unknown_attribute"),
    "order without a name": ({"product_id": "a", "sort": ":asc"}, "bad_sort"),
    "no reach": ({"product_id": "a", "reach": 0}, "bad_reach"),
    "far reach": ({"product_id": "a", "reach": 20_001}, "bad_reach"),
    "facets of others": ({"product_id": "a", "facets_of": "others"}, "bad_field"),
    "bad field": ({"product_id": "a", "fields": ["price"]}, "bad_fields"),
    "bad collapse": ({"product_id": "a", "collapse": "all"}, "bad_collapse"),
    "too many facets": ({"product_id": "a", "facets": [f"a{number}" for number in range(9)]}, "bad_facets"),
    "unknown snapshot": ({"product_id": "a", "snapshot": "20200101T000000Z-00000000"}, "snapshot_not_held"),
    "url": ({"url": "https://img.shop.example/a.jpg"}, "urls_off"),
}

ACCESS: Mapping[str, tuple[str, str]] = {
    "no key": ("none", "unauthorized"),
    "a wrong key": ("wrong", "unauthorized"),
    "a made-up key": ("made up", "unauthorized"),
    "a withdrawn key": ("withdrawn", "unauthorized"),
    "a key without the scope": ("admin", "forbidden"),
}


LISTINGS: Mapping[str, tuple[Query, str | None]] = {
    "plain": ({}, None),
    "page": ({"limit": 5, "offset": 4}, None),
    "filter": ({"filter": ["price<=20", "new=true"]}, None),
    "find a title": ({"find": "product 1"}, None),
    "find an id": ({"find": "SHOES/0"}, None),
    "find an odd id": ({"find": ODD_ID[:9]}, None),
    "find nobody": ({"find": "nobody"}, None),
    "find spaces": ({"find": "  "}, None),
    "find among some": ({"find": "product", "filter": ["category=shoes"], "limit": 3}, None),
    "by price": ({"sort": "price:asc"}, None),
    "by date, found": ({"sort": "added:desc", "find": "product", "limit": 7, "offset": 2}, None),
    "facets": ({"facets": ["category", "price"], "filter": ["category=shoes"]}, None),
    "facets of hits": (
        {"facets": ["category", "price"], "filter": ["category=shoes"], "facets_of": "hits", "find": "1"},
        None,
    ),
    "too many": ({"limit": 101}, "bad_limit"),
    "none": ({"limit": 0}, "bad_limit"),
    "offset": ({"offset": -1}, "bad_offset"),
    "long find": ({"find": "x" * 201}, "bad_field"),
    "by score": ({"sort": "score"}, "bad_sort"),
    "by texts": ({"sort": "category"}, "bad_sort"),
    "by nothing": ({"sort": "flavour:asc"}, "unknown_attribute"),
    "filter of nothing": ({"filter": ["flavour=red"]}, "unknown_attribute"),
    "facets of others": ({"facets_of": "others", "facets": ["category"]}, "bad_field"),
}
"""Lists of products, and the code that each ends with; None for products."""


SUGGESTIONS: Mapping[str, tuple[Query, str | None]] = {
    "a beginning": ({"text": "pro"}, None),
    "a beginning after a word": ({"text": "product 1"}, None),
    "in capitals": ({"text": "PRODUCT RE"}, None),
    "a mistake": ({"text": "prodcut"}, None),
    "few": ({"text": "1", "limit": 2}, None),
    "filter": ({"text": "pro", "filter": ["price<=20", "new=true"]}, None),
    "filter that leaves nothing": ({"text": "pro", "filter": ["stock>100000"]}, None),
    "after an unknown word": ({"text": "xyzzy pro"}, None),
    "nothing": ({"text": ""}, None),
    "no word": ({"text": "\U0001f98a ?!"}, None),
    "behind a word": ({"text": "product "}, None),
    "long text": ({"text": "x" * 513}, "bad_text"),
    "too many": ({"text": "pro", "limit": 21}, "bad_limit"),
    "none": ({"text": "pro", "limit": 0}, "bad_limit"),
    "fewer than none": ({"text": "pro", "limit": -3}, "bad_limit"),
    "filter of nothing": ({"text": "pro", "filter": ["flavour=red"]}, "unknown_attribute"),
    "filter without a condition": ({"text": "pro", "filter": ["category"]}, "bad_filter"),
    "too many filters": ({"text": "pro", "filter": ["stock>1"] * 33}, "too_many_filters"),
    "unknown snapshot": ({"text": "pro", "snapshot": "20200101T000000Z-00000000"}, "snapshot_not_held"),
}
"""Texts that somebody types, and the code that each ends with; None for suggestions."""


def cases() -> Iterator[Case]:
    """Yield all single queries: over two hundred."""
    for example, query in EXAMPLES.items():
        for option, more in OPTIONS.items():
            yield Case(f"{example}, {option}", {**query, **more})
    for name, (query, code) in PROBLEMS.items():
        yield Case(name, query, code)
    for name, (key, code) in ACCESS.items():
        yield Case(name, {"product_id": "a"}, code, key)


def batches() -> Iterator[BatchCase]:
    """Yield all batches."""
    good: list[Query] = [{"product_id": "a", "k": 2}, {"vector": _packed(1), "k": 3}, {"image": _PICTURE, "k": 1}]
    yield BatchCase("good ones", good, [None, None, None], is_of_items=True)
    yield BatchCase("options", [{**query, **OPTIONS["facets"]} for query in good], [None, None, None], is_of_items=True)
    bad = {name: PROBLEMS[name] for name in ("nothing", "no picture", "short vector", "unknown product", "bad field")}
    for name, (query, code) in bad.items():
        can_ask = name != "nothing"
        yield BatchCase(f"one bad: {name}", [good[0], query, good[1]], [None, code, None], is_of_items=can_ask)
    yield BatchCase("all bad", [query for query, _ in bad.values()], [code for _, code in bad.values()])
    yield BatchCase("snapshot inside", [good[0], {**good[1], "snapshot": "x"}], [None, "bad_field"])
    yield BatchCase("none", [], code="no_query")
    yield BatchCase("too many", [good[0]] * 33, code="too_many_queries")
    yield BatchCase("too many pictures", [{"positive": [{"image": _PICTURE}] * 16}] * 5, code="too_many_pictures")
    yield BatchCase("unknown snapshot", good, code="snapshot_not_held", snapshot="20200101T000000Z-00000000")
    for name, (key, code) in ACCESS.items():
        yield BatchCase(name, good, code=code, key=key)


def attributes_of(number: int) -> dict[str, Any]:
    """Return attributes of a product that the shop's own have not: dates, and values that are missing."""
    from datetime import date, datetime

    day = 1 + number % 9
    return {
        "added": date(2026, 11, day),
        "seen": datetime(2026, 11, day, 8, number, 1, 250_000),
        "note": None if number % 3 else f"note {number % 5}",
    }
