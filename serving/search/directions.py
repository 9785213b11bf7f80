"""Directions: where a query's examples lead, and how products are ranked by that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lookalike.serving.errors import ProblemError
from lookalike.serving.query.options import COLOUR_BESIDE_PICTURE, WEIGHTS, WORDS_ALONE, ChannelName
from lookalike.serving.query.query import Example, Query, Text, TextVectors, Vectors, combine
from lookalike.serving.search.rankings import Blend, Directions, Looks, Nearest, Part, Ranking
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.search.colour_words import find_colours
from lookalike.tasks.search.looks import find_examples
from lookalike.tasks.search.meaning import Meaning, NearTexts
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.words.words import Words

Given = Vectors | TextVectors | None
"""What encoders make of an example: nothing of a product."""

TITLE_CHANNELS: tuple[ChannelName, ...] = ("meaning", "looks")
"""The channels that go by way of titles: they need the encoder of texts."""


def find_ranking(
    searcher: Searcher, query: Query, rows: Sequence[int | None], vectors: Sequence[Given]
) -> Ranking | None:
    """Return how a query ranks products, None where nothing in it has a direction.

    Args:
        rows: the row of each example that is a product, else None.
        vectors: the encoder's vector of each example that is a picture or a vector, and those of each text; None for
            others.

    Raises:
        ProblemError: examples cancel each other out, or a text cannot be searched for.
    """
    known = zip(query.examples, rows, vectors, strict=True)
    placed = [_place_example(searcher, example, row, vector) for example, row, vector in known]
    split = len(query.positive)
    positive = {place: direction for place, direction in enumerate(placed[:split]) if direction is not None}
    negative = [direction for direction in placed[split:] if direction is not None]
    directions = _combine_examples(searcher, query, positive, negative) if positive else None
    if not query.has_text:
        return Nearest(directions) if directions else None
    parts = find_text_parts(searcher, query, vectors)
    if directions:
        parts.append(Part("picture", Looks(directions), _weigh(searcher, query, "picture")))
    elif negative:
        away = combine(negative, [], 0)
        parts.append(
            Part(
                "picture",
                Looks(Directions(searcher, [away])),
                -query.negative_weight * _weigh(searcher, query, "picture"),
            )
        )
    if all(part.weight <= 0 for part in parts):
        raise ProblemError("bad_weights", "Nothing that the query asks for has a weight above 0.")
    return Blend(parts, is_exact=all(is_exact(searcher, part.name) for part in parts))


def _combine_examples(
    searcher: Searcher, query: Query, positive: Mapping[int, Vectors], negative: Sequence[Vectors]
) -> Directions:
    """Return where examples lead, the positive ones by their place in the query. Raises `ProblemError`."""
    if query.options.combine == "mean":
        return Directions(searcher, [combine([*positive.values()], negative, query.negative_weight)], positive)
    each = {place: combine([one], negative, query.negative_weight) for place, one in positive.items()}
    return Directions(searcher, [*each.values()], each)


def find_text_encoders(searcher: Searcher, query: Query) -> tuple[OnnxTextEncoder | None, OnnxTextEncoder | None]:
    """Return what must encode a query's texts: the encoder of texts, and that of pictures; None where it need not."""
    by_titles = searcher.texts if any(_weigh(searcher, query, name) for name in TITLE_CHANNELS) else None
    by_pictures = searcher.tower if _weigh(searcher, query, "shows") else None
    return by_titles.encoder if by_titles else None, by_pictures.encoder if by_pictures else None


def find_words(searcher: Searcher) -> Words:
    """Return the words of a snapshot. Raises `ProblemError` where it has none."""
    if searcher.words is None:
        detail = (
            "The products of this snapshot cannot be searched by text: it was built without an index of words, or its "
            "catalogue has no titles. Run `lookalike reindex`."
        )
        raise ProblemError("no_text_channel", detail)
    return searcher.words


def find_text_parts(searcher: Searcher, query: Query, vectors: Sequence[Given]) -> list[Part]:
    """Return what finds products by the texts of a query. Raises `ProblemError` where the snapshot cannot."""
    if searcher.texts is None and searcher.tower is None and not _names_colours(searcher, query):
        find_words(searcher)
    _check_channels(searcher, query)
    signs = [1.0] * len(query.positive) + [-query.negative_weight] * len(query.negative)
    return [
        Part(part.name, part.channel, sign * example.weight * part.weight)
        for sign, example, vector in zip(signs, query.examples, vectors, strict=True)
        if isinstance(example, Text)
        for part in _find_channels(searcher, query, example, vector if isinstance(vector, TextVectors) else None)
    ]


def is_exact(searcher: Searcher, channel: ChannelName) -> bool:
    """Tell whether a channel compares with every product."""
    if channel in {"words", "colour"}:
        return True
    if channel == "meaning" and searcher.texts is not None:
        return searcher.texts.is_exact and (searcher.texts.without is None or searcher.is_exact)
    return searcher.is_exact


def _find_channels(searcher: Searcher, query: Query, text: Text, vectors: TextVectors | None) -> Iterator[Part]:
    """Yield what finds products by one text."""
    if searcher.words is not None:
        yield Part("words", searcher.words.query(text.text), _weigh(searcher, query, "words"))
    if searcher.colours is not None and (colours := find_colours(text.text)):
        yield Part("colour", searcher.colours.query(colours), _weigh(searcher, query, "colour"))
    if vectors is None:
        return
    if vectors.meaning is not None:
        yield from _find_by_titles(searcher, query, vectors.meaning)
    if vectors.shows is not None and searcher.tower is not None:
        direction = searcher.tower.find_directions(vectors.shows[None])[0]
        yield Part("shows", Looks(Directions(searcher, [direction]), of_text=True), _weigh(searcher, query, "shows"))


def _find_by_titles(searcher: Searcher, query: Query, vector: Vectors) -> Iterator[Part]:
    """Yield what finds products by the titles that are near to a text, and by the pictures of these."""
    if searcher.texts is None:
        return
    texts = NearTexts(searcher.texts, vector)
    examples = find_examples(searcher, texts) if _needs_pictures(searcher, query) else None
    looks = Looks(Directions(searcher, [examples.direction]), examples) if examples else None
    yield Part("meaning", Meaning(texts, looks), _weigh(searcher, query, "meaning"))
    if looks is not None:
        yield Part("looks", looks, _weigh(searcher, query, "looks"))


def _needs_pictures(searcher: Searcher, query: Query) -> bool:
    """Tell whether pictures speak for a text: for all products, or for those without a title."""
    has_untitled = searcher.texts is not None and searcher.texts.without is not None
    return _weigh(searcher, query, "looks") > 0 or (has_untitled and _weigh(searcher, query, "meaning") > 0)


def _names_colours(searcher: Searcher, query: Query) -> bool:
    """Tell whether each text names a colour that pictures can be looked at for."""
    texts = [example.text for example in query.examples if isinstance(example, Text)]
    return searcher.colours is not None and all(find_colours(text) for text in texts)


def _check_channels(searcher: Searcher, query: Query) -> None:
    """Raise `ProblemError` for a channel that was asked for and that the snapshot does not have."""
    asked = [name for name, weight in query.options.weights.items() if weight]
    for name in asked:
        why = None
        if name in TITLE_CHANNELS and searcher.texts is None:
            why = (
                "it was built without an encoder of texts, or its products have no titles. Run `lookalike reindex` "
                "with `--text-encoder minilm`"
            )
        if name == "shows" and searcher.tower is None:
            why = (
                "its encoder of pictures does not know texts. Run `lookalike reindex` with an encoder that does, such "
                "as `--encoder openclip:ViT-B-32/laion2b_s34b_b79k`"
            )
        if name == "colour" and searcher.colours is None:
            why = "the colours of its pictures were not measured. Run `lookalike reindex`"
        if why:
            raise ProblemError(
                "no_text_channel", f"The products of this snapshot cannot be searched by `{name}`: {why}."
            )


def _weigh(searcher: Searcher, query: Query, channel: ChannelName) -> float:
    are_alone = channel == "words" and searcher.texts is None and searcher.tower is None
    usual = WORDS_ALONE if are_alone else WEIGHTS[channel]
    if channel == "colour" and any(not isinstance(example, Text) for example in query.positive):
        usual = COLOUR_BESIDE_PICTURE
    return query.options.weights.get(channel, usual)


def _place_example(searcher: Searcher, example: Example, row: int | None, vector: Given) -> Vectors | None:
    """Return where one example lies in the index, None for a text, and for a picture without any feature."""
    if isinstance(example, Text) or isinstance(vector, TextVectors):
        return None
    if row is not None:
        return searcher.direction_of(row)
    return searcher.direction(vector) if vector is not None and vector.any() else None
