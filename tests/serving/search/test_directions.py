"""How a text ranks products: its channels, their weights, and answers that are those of comparing with each product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.stores import open_store
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import ProductId, Query, Text, TextVectors, Vectors
from lookalike.serving.search.directions import find_ranking, find_text_encoders
from lookalike.serving.search.explanations import explain
from lookalike.serving.search.rankings import Blend
from lookalike.serving.search.selection import Among, find_best
from lookalike.tasks.draft import describe_colours
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.search.searcher import Searcher
from tests.support.shop import Shop, write_pictures
from tests.support.towers import TWO_TOWERS

COUNT = 60
THINGS = ("scarlet shoe", "navy hat", "olive bag")
COLOURS = ("red", "blue", "green")


def build(
    folder: Path,
    *,
    texts: bool = True,
    words: bool = True,
    titles: bool = True,
    encoder: str = "fake",
    colours: bool = False,
) -> Searcher:
    """Build products in three colours; every third one of a colour has no title."""
    shop = Shop(open_store(str(folder / "store")), folder)
    shop.colours = describe_colours(wanted=colours)
    shop.text_encoder = "fake" if texts else None
    if not words:
        shop.words = None
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    rows = write_pictures(pictures, COUNT)
    for number, row in enumerate(rows):
        kind = number % 3
        image = Image.new("RGB", (64, 64), "white" if colours else COLOURS[kind])
        if colours:  # else the colour would be a plain ground, which does not count
            ImageDraw.Draw(image).ellipse((2, 2, 61, 61), fill=COLOURS[kind])
        ImageDraw.Draw(image).rectangle((number % 50, 5, number % 50 + 9, 20), fill="white")
        image.save(row["image"])
        row["id"] = f"{COLOURS[kind]}-{number}"
        row["title"] = f"{THINGS[kind]} {number}" if titles and (number // 3) % 3 else ""
        row["attributes"] = {"stock": number}
    return Searcher.open(shop.store, shop.build_rows(rows, encoder=encoder), BlobCache(folder / "cache"), threads=1)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    return build(tmp_path_factory.mktemp("directions"))


def ask(searcher: Searcher, text: str, negative: str | None = None, **options: Any) -> Blend:
    asked = [text, negative] if negative else [text]
    negatives = tuple(Text(one) for one in asked[1:])
    query = Query((Text(text),), QueryOptions(**options), negative=negatives, negative_weight=0.5)
    encoders = find_text_encoders(searcher, query)
    vectors = [TextVectors(*[encode(encoder, one) for encoder in encoders]) for one in asked]
    ranking = find_ranking(searcher, query, [None] * len(query.examples), vectors)
    assert isinstance(ranking, Blend)
    return ranking


def encode(encoder: OnnxTextEncoder | None, text: str) -> Vectors | None:
    vector = None if encoder is None else encode_texts(encoder, [text])[0]
    return None if vector is None or not vector.any() else vector


def weights(ranking: Blend) -> dict[str, float]:
    return {part.name: part.weight for part in ranking.parts}


def test_a_text_asks_all_channels(searcher: Searcher) -> None:
    assert weights(ask(searcher, "scarlet shoe")) == {"words": 0.5, "meaning": 0.5, "looks": 0.1}
    assert weights(ask(searcher, "scarlet shoe", weights={"looks": 0})) == {"words": 0.5, "meaning": 0.5}
    assert ask(searcher, "scarlet shoe").is_exact


def test_products_without_a_title_are_found_by_their_pictures(searcher: Searcher) -> None:
    found = find_best(searcher, ask(searcher, "scarlet shoe"), 20, QueryOptions(), Among())
    products = searcher.products.take(found.rows)
    assert [product.id.partition("-")[0] for product in products[:20]] == ["red"] * 20
    assert sum(not product.title for product in products) == 7  # all of this colour that there are
    assert all(product.title for product in products[:13])  # who says it comes first


@pytest.mark.parametrize("negative", [None, "navy hat"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("given", [{}, {"words": 1.0, "looks": 1.0}, {"words": 0.0}, {"looks": 0.0}])
def test_what_is_found_is_what_comparing_with_each_finds(
    searcher: Searcher, share: float, given: dict[str, float], negative: str | None
) -> None:
    ranking = ask(searcher, "scarlet shoe", negative, weights=given)
    allowed = np.random.default_rng(1).random(COUNT) < share
    every = np.arange(COUNT)
    scores = ranking.scores(every)
    offered = np.any([part.channel.scores(every) > 0 for part in ranking.parts if part.weight > 0], axis=0)
    found = find_best(searcher, ranking, COUNT, QueryOptions(), Among(allowed))
    assert set(found.rows.tolist()) == set(every[allowed & offered].tolist())
    assert found.scores == pytest.approx(np.sort(scores[allowed & offered])[::-1], abs=1e-5)
    page = find_best(searcher, ranking, 5, QueryOptions(), Among(allowed))
    assert page.rows.tolist() == found.rows[:5].tolist()


def test_a_snapshot_that_knows_words_alone(tmp_path: Path) -> None:
    searcher = build(tmp_path, texts=False)
    assert weights(ask(searcher, "scarlet shoe")) == {"words": 1.0}
    for name in ("meaning", "looks"):
        with pytest.raises(ProblemError, match="--text-encoder minilm") as caught:
            ask(searcher, "scarlet shoe", weights={name: 1.0})
        assert caught.value.code == "no_text_channel"


def test_a_snapshot_that_knows_meanings_alone(tmp_path: Path) -> None:
    assert weights(ask(build(tmp_path, words=False), "scarlet shoe")) == {"meaning": 0.5, "looks": 0.1}


def test_a_text_without_a_vector_is_searched_by_its_words(searcher: Searcher) -> None:
    query = Query((Text("7"),), QueryOptions())
    ranking = find_ranking(searcher, query, [None], [TextVectors()])
    assert isinstance(ranking, Blend)
    assert weights(ranking) == {"words": 0.5}


def test_nothing_has_a_weight(searcher: Searcher) -> None:
    with pytest.raises(ProblemError, match="above 0"):
        ask(searcher, "scarlet shoe", weights={"words": 0, "meaning": 0, "looks": 0})


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """The same products in a snapshot whose encoder of pictures knows the words for colours."""
    return build(tmp_path_factory.mktemp("towers"), encoder=TWO_TOWERS)


def test_an_encoder_that_knows_both_shows_what_a_text_says(towers: Searcher) -> None:
    assert weights(ask(towers, "red")) == {"words": 0.5, "meaning": 0.5, "looks": 0.1, "shows": 0.5}
    ranking = ask(towers, "red", weights={"words": 0, "meaning": 0, "looks": 0})
    assert (weights(ranking), ranking.is_exact) == ({"shows": 0.5}, True)
    found = find_best(towers, ranking, 20, QueryOptions(), Among())
    products = towers.products.take(found.rows)
    assert {product.id.partition("-")[0] for product in products} == {"red"}  # no title says so
    assert any(not product.title for product in products)
    assert (np.diff(found.scores) <= 0).all()
    assert 0 < found.scores[-1] <= found.scores[0] <= 1


@pytest.mark.parametrize("negative", [None, "blue"])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_what_pictures_show_is_blended_exactly(towers: Searcher, share: float, negative: str | None) -> None:
    ranking = ask(towers, "red hat", negative)
    allowed = np.random.default_rng(2).random(COUNT) < share
    every = np.arange(COUNT)
    scores = ranking.scores(every)
    offered = np.any([part.channel.scores(every) > 0 for part in ranking.parts if part.weight > 0], axis=0)
    found = find_best(towers, ranking, COUNT, QueryOptions(), Among(allowed))
    assert set(found.rows.tolist()) == set(every[allowed & offered].tolist())
    assert found.scores == pytest.approx(np.sort(scores[allowed & offered])[::-1], abs=1e-5)


def test_a_snapshot_that_knows_what_pictures_show_alone(tmp_path: Path) -> None:
    searcher = build(tmp_path, texts=False, words=False, encoder=TWO_TOWERS)
    assert weights(ask(searcher, "green")) == {"shows": 0.5}
    best = find_best(searcher, ask(searcher, "green"), 1, QueryOptions(), Among())
    assert searcher.products.take(best.rows)[0].id.startswith("green")


def test_an_encoder_of_pictures_alone_cannot_show(searcher: Searcher) -> None:
    with pytest.raises(ProblemError, match="--encoder openclip:") as caught:
        ask(searcher, "scarlet shoe", weights={"shows": 1.0})
    assert caught.value.code == "no_text_channel"


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    return build(tmp_path_factory.mktemp("coloured"), colours=True)


def ask_beside(searcher: Searcher, product: str, text: str, **options: Any) -> Blend:
    """Return how a picture and a text rank products."""
    query = Query((ProductId(product), Text(text)), QueryOptions(**options))
    vectors = TextVectors(*[encode(encoder, text) for encoder in find_text_encoders(searcher, query)])
    ranking = find_ranking(searcher, query, [searcher.products.row(product), None], [None, vectors])
    assert isinstance(ranking, Blend)
    return ranking


def test_a_text_that_names_a_colour_asks_for_it(coloured: Searcher) -> None:
    assert weights(ask(coloured, "7 in red"))["colour"] == 0.1
    assert weights(ask_beside(coloured, "blue-1", "like this but red"))["colour"] == 0.7
    assert weights(ask(coloured, "7 in red", weights={"colour": 2}))["colour"] == 2
    assert "colour" not in weights(ask(coloured, "7 in red", weights={"colour": 0}))
    assert "colour" not in weights(ask(coloured, "shoe 7"))
    assert ask(coloured, "7 in red").is_exact


def test_like_this_but_red_finds_what_is_red(coloured: Searcher) -> None:
    ranking = ask_beside(coloured, "blue-1", "but red", weights={"colour": 3})  # `fake` sees little but colours
    found = find_best(coloured, ranking, 20, QueryOptions(), Among())
    products = coloured.products.take(found.rows)
    assert {product.id.partition("-")[0] for product in products} == {"red"}
    away = ask(coloured, "scarlet shoe", "red")
    assert min(part.weight for part in away.parts if part.name == "colour") == pytest.approx(-0.05)


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("given", [{}, {"colour": 3.0}, {"words": 0.0, "meaning": 0.0, "looks": 0.0}])
def test_what_is_found_by_colour_is_what_comparing_with_each_finds(
    coloured: Searcher, share: float, given: dict[str, float]
) -> None:
    ranking = ask(coloured, "green and white shoe", weights=given)
    allowed = np.random.default_rng(2).random(COUNT) < share
    every = np.arange(COUNT)
    scores = ranking.scores(every)
    found = find_best(coloured, ranking, COUNT, QueryOptions(), Among(allowed))
    offered = np.any([part.channel.scores(every) > 0 for part in ranking.parts], axis=0)
    assert set(found.rows.tolist()) == set(every[allowed & offered].tolist())
    assert found.scores == pytest.approx(np.sort(scores[allowed & offered])[::-1], abs=1e-5)
    page = find_best(coloured, ranking, 5, QueryOptions(), Among(allowed))
    assert page.rows.tolist() == found.rows[:5].tolist()


def test_an_explanation_names_the_colours(coloured: Searcher) -> None:
    ranking = ask(coloured, "red or white shoe", "green")
    explained = explain(ranking, np.array([coloured.products.row("red-0")]))
    assert explained.understood is not None
    assert list(explained.understood.colours) == ["red", "white"]
    assert explained.hits[0].scores["colour"] > 0


def test_colours_alone_can_be_searched_where_no_product_has_words(tmp_path: Path) -> None:
    searcher = build(tmp_path, texts=False, words=False, colours=True)
    assert weights(ask(searcher, "red")) == {"colour": 0.1}
    with pytest.raises(ProblemError, match="lookalike reindex") as caught:
        ask(searcher, "shoe")
    assert caught.value.code == "no_text_channel"
