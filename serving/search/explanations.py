"""Explanations: what a query's words were taken for, and what each hit was found by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lookalike.serving.query.options import ChannelName
from lookalike.serving.search.rankings import Blend, Looks, Ranking, clip_closeness, find_pictures
from lookalike.tasks.search.channels import Rows
from lookalike.tasks.search.colours import ColourQuery
from lookalike.tasks.search.words.words import How, WordsQuery

MOST_LIKES = 5  # of a text, that are named


@dataclass(frozen=True, slots=True)
class Match:
    """A word of the query, and a word that products have. `how` says why it was taken for that."""

    word: str
    found: str
    how: How


@dataclass(frozen=True, slots=True)
class Like:
    """A product whose picture stands for a text, and its share in what the text is taken to look like."""

    id: str
    title: str
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a hit was found by: the score of each channel, and the words that it has.

    `example` is the place, from 0, of the positive example that is the nearest; None where fewer than two could be.
    """

    scores: Mapping[ChannelName, float]
    matches: Sequence[Match] = ()
    example: int | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """What the texts of a query were understood as.

    Attributes:
        words: those of all positive texts that some product has, as what they were read.
        unknown: those that no product has, nor any that is like them.
        looks_like: the products whose pictures stand for the positive texts, those that count most first.
        colours: those that the positive texts name.
    """

    words: Sequence[Match]
    unknown: Sequence[str]
    looks_like: Sequence[Like] = ()
    colours: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """What each hit was found by, and what the query was understood as; None for a query without a text."""

    hits: Sequence[Explanation]
    understood: Understood | None = None


def explain(ranking: Ranking, rows: Rows) -> Explained:
    """Return the explanation of hits in some rows."""
    pictures = find_pictures(ranking)
    examples = [None] * len(rows) if pictures is None else pictures.find_examples(rows)
    if isinstance(ranking, Blend):
        return Explained(_explain_hits(ranking, rows, examples), _find_understood(ranking))
    scores = [] if pictures is None else clip_closeness(pictures, rows).tolist()
    return Explained([Explanation({"picture": score}, (), one) for score, one in zip(scores, examples, strict=True)])


def _find_understood(ranking: Blend) -> Understood:
    understood = [word for query in _list_queries(ranking) for word in query.understood]
    words = [Match(word.word, one.term, one.how) for word in understood for one in word.readings]
    unknown = [word.word for word in understood if not word.readings]
    return Understood(words, unknown, _find_likes(ranking), _list_colours(ranking))


def _explain_hits(ranking: Blend, rows: Rows, examples: Sequence[int | None]) -> list[Explanation]:
    queries = _list_queries(ranking)
    names = dict.fromkeys(part.name for part in ranking.parts if part.weight > 0)
    scores = {name: _mean(ranking, name, rows) for name in names}
    return [
        Explanation(
            {name: float(of[place]) for name, of in scores.items()},
            [Match(word.word, one.term, one.how) for query in queries for word, one in query.match(row)],
            examples[place],
        )
        for place, row in enumerate(rows.tolist())
    ]


def _list_queries(ranking: Blend) -> list[WordsQuery]:
    return [part.channel for part in ranking.parts if part.weight > 0 and isinstance(part.channel, WordsQuery)]


def _list_colours(ranking: Blend) -> list[str]:
    queries = [part.channel for part in ranking.parts if part.weight > 0 and isinstance(part.channel, ColourQuery)]
    return list(dict.fromkeys(name for query in queries for name in query.names))


def _find_likes(ranking: Blend) -> list[Like]:
    looks = [part.channel for part in ranking.parts if part.weight > 0 and isinstance(part.channel, Looks)]
    return [
        Like(product.id, product.title, weight)
        for channel in looks
        for product, weight in channel.name_examples(MOST_LIKES)
    ]


def judge_texts(ranking: Blend) -> str:
    """Return how well the words of a query's texts were understood, as metrics have it."""
    words = [word for part in ranking.parts if isinstance(part.channel, WordsQuery) for word in part.channel.understood]
    unknown = sum(not word.readings for word in words)
    if unknown:
        return "partly" if unknown < len(words) else "unknown"
    return "known" if all(word.readings[0].how == "word" for word in words) else "guessed"


def _mean(ranking: Blend, name: ChannelName, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the mean score of all texts or pictures that a channel looks for, by their weights."""
    parts = [part for part in ranking.parts if part.name == name and part.weight > 0]
    sums = np.zeros(len(rows), np.float64)
    for part in parts:
        sums += part.weight * part.channel.scores(rows)
    return sums / sum(part.weight for part in parts)
