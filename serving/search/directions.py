"""Directions: where a query's examples lead, and how products are ranked by that."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike.serving.errors import ProblemError
from lookalike.serving.search.options import WEIGHTS, ChannelName
from lookalike.serving.search.query import Query, Text, Vectors, combine
from lookalike.serving.search.rankings import Blend, Looks, Nearest, Part, Ranking
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.words.words import Words

Placed = Sequence[Vectors | None]


def find_ranking(
    searcher: Searcher, query: Query, rows: Sequence[int | None], vectors: Sequence[Vectors | None]
) -> Ranking | None:
    """Return how a query ranks products, None where nothing in it has a direction.

    Args:
        rows: the row of each example that is a product, else None.
        vectors: the encoder's vector of each example that is a picture or a vector, else None.

    Raises:
        ProblemError: examples cancel each other out, or a text cannot be searched for.
    """
    placed = [_place_example(searcher, row, vector) for row, vector in zip(rows, vectors, strict=True)]
    split = len(query.positive)
    positive = [direction for direction in placed[:split] if direction is not None]
    negative = [direction for direction in placed[split:] if direction is not None]
    direction = combine(positive, negative, query.negative_weight)
    if not query.has_text:
        return None if direction is None else Nearest(searcher, direction)
    parts = _find_text_parts(searcher, query)
    if direction is not None:
        parts.append(Part("picture", Looks(searcher, direction), _weigh(query, "picture")))
    elif negative:
        away = combine(negative, [], 0)
        assert away is not None  # noqa: S101 - there is at least one
        parts.append(Part("picture", Looks(searcher, away), -query.negative_weight * _weigh(query, "picture")))
    if all(part.weight <= 0 for part in parts):
        raise ProblemError("bad_weights", "Nothing that the query asks for has a weight above 0.")
    return Blend(parts, is_exact=searcher.is_exact or direction is None)


def find_words(searcher: Searcher) -> Words:
    """Return the words of a snapshot. Raises `ProblemError` where it has none."""
    if searcher.words is None:
        detail = (
            "The products of this snapshot cannot be searched by text: it was built without an index of words, or its "
            "catalogue has no titles. Run `lookalike reindex`."
        )
        raise ProblemError("no_text_channel", detail)
    return searcher.words


def _find_text_parts(searcher: Searcher, query: Query) -> list[Part]:
    """Return what finds products by the texts of a query."""
    words = find_words(searcher)
    signs = [1.0] * len(query.positive) + [-query.negative_weight] * len(query.negative)
    return [
        Part("words", words.query(example.text), sign * example.weight * _weigh(query, "words"))
        for sign, example in zip(signs, query.examples, strict=True)
        if isinstance(example, Text)
    ]


def _weigh(query: Query, channel: ChannelName) -> float:
    return query.options.weights.get(channel, WEIGHTS[channel])


def _place_example(searcher: Searcher, row: int | None, vector: Vectors | None) -> Vectors | None:
    """Return where one example lies in the index, None for a text, and for a picture without any feature."""
    if row is not None:
        return searcher.direction_of(row)
    return searcher.direction(vector) if vector is not None and vector.any() else None
