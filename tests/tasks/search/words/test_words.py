"""Words: scores against a model in plain Python, over shards, tombstones and filters; and texts as people type them."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.stores.local import LocalStore
from lookalike.tasks.build.words import build_postings, store_words
from lookalike.tasks.search.words.postings import Postings, decode_lengths, encode_lengths
from lookalike.tasks.search.words.spelling import measure_distances
from lookalike.tasks.search.words.tokens import tokenise
from lookalike.tasks.search.words.words import MOST_MISSPELT, Words

TITLES = [
    "Red running shoe",
    "Red hat",
    "Blue running shoes",
    "Running machine, red",
    "Fußball",
    "红色运动鞋",
    "",
    None,
]
BRANDS = ["Acme", "Zeta", None, "Acme", "Red Star", "Acme", "Nemo", ""]
WORD = st.text("abc", min_size=1, max_size=4)
TEXT = st.lists(WORD, max_size=5).map(" ".join)
PRODUCT = st.tuples(TEXT, TEXT)


def table(titles: Sequence[str | None], brands: Sequence[str | None]) -> pa.Table:
    struct = pa.StructArray.from_arrays([pa.array(brands, pa.string()), pa.array(range(len(brands)))], ["brand", "n"])
    return pa.table({"title": pa.array(titles, pa.string()), "attributes": struct})


def words_of(
    titles: Sequence[str | None],
    brands: Sequence[str | None],
    *,
    cut: int | None = None,
    alive: NDArray[np.bool_] | None = None,
) -> Words:
    products = table(titles, brands)
    cuts = [products] if cut is None else [products.slice(0, cut), products.slice(cut)]
    return Words([build_postings(one) for one in cuts if one.num_rows], alive)


def write(folder: Path) -> Path:
    store = LocalStore(folder / "store")
    blob = store_words(store, table(TITLES, BRANDS))
    (folder / "words").write_bytes(blobs.read(store, blob))
    return folder / "words"


def find(words: Words, text: str, reach: int = 10) -> list[int]:
    found: list[int] = words.query(text).candidates(reach, None).tolist()
    return found


def distance(one: str, other: str) -> int:
    """Return the optimal string alignment of two words, as its definition has it."""
    if not one or not other:
        return len(one) + len(other)
    best = min(
        distance(one[:-1], other) + 1,
        distance(one, other[:-1]) + 1,
        distance(one[:-1], other[:-1]) + (one[-1] != other[-1]),
    )
    if one[-2:] == other[-2:][::-1] and len(one) > 1 and len(other) > 1:
        best = min(best, distance(one[:-2], other[:-2]) + 1)
    return best


def model(products: Sequence[tuple[str, str]], text: str) -> list[float]:
    """Score all products by plain counting."""
    parts = [(Counter(tokenise(title)), Counter(tokenise(brand))) for title, brand in products]
    long = np.array([title.total() + 0.3 * brand.total() for title, brand in parts])
    lengths = decode_lengths(encode_lengths(long))
    mean = max(float(lengths.mean()), 0.1)
    often = Counter(word for title, brand in parts for word in title | brand)
    sums, most = np.zeros(len(products)), 0.0
    words = list(dict.fromkeys(tokenise(text)))

    def saturate(times: float, length: float) -> float:
        return times / (times + 1.2 * (0.25 + 0.75 * length / mean))

    for word in words:
        readings = {word: 1.0} if word in often else {}
        if word == words[-1] and text[-1].isalnum() and (word not in often or len(word) >= 3):
            readings.update({term: 0.6 for term in often if term.startswith(word) and term != word})
        if not readings and len(word) >= 3:
            near = {term: distance(word, term) for term in often if distance(word, term) <= 1 and len(term) >= 3}
            best = sorted(near, key=lambda term: (near[term], -often[term], term))
            readings = dict.fromkeys([term for term in best if near[term] == near[best[0]]][:3], 0.6)
        count = min(often[word] or sum(often[term] for term in readings), len(products))
        weight = math.log(1 + (len(products) - count + 0.5) / (count + 0.5))
        most += weight * saturate(1, len(words))
        for row, (title, brand) in enumerate(parts):
            gains = [share * saturate(title[one] + 0.3 * brand[one], lengths[row]) for one, share in readings.items()]
            sums[row] += weight * max(gains, default=0)
    return [min(1.0, float(one) / most) if most else 0.0 for one in sums]


@settings(max_examples=150, deadline=None)
@given(st.lists(PRODUCT, min_size=1, max_size=12), TEXT, st.integers(0, 12), st.data())
def test_scores_and_candidates_are_those_of_a_model(
    products: list[tuple[str, str]], text: str, cut: int, data: st.DataObject
) -> None:
    titles, brands = [title for title, _ in products], [brand for _, brand in products]
    alive = np.array(data.draw(st.lists(st.booleans(), min_size=len(products), max_size=len(products))))
    alive[0] = True
    words = words_of(titles, brands, cut=cut, alive=alive)
    query, wanted = words.query(text), np.zeros(len(products))
    wanted[alive] = model([one for one, lives in zip(products, alive, strict=True) if lives], text)
    everything = np.arange(len(products))
    scores = query.scores(everything)
    np.testing.assert_allclose(scores, wanted, atol=1e-5)

    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(products), max_size=len(products))))
    reach = data.draw(st.integers(1, 12))
    order = [row for row in sorted(everything, key=lambda row: (-scores[row], row)) if mask[row] and scores[row] > 0]
    assert query.candidates(reach, mask).tolist() == order[:reach]


@given(WORD, st.lists(WORD, min_size=1, max_size=5))
def test_distances_are_those_of_the_definition(word: str, terms: list[str]) -> None:
    assert measure_distances(word, terms).tolist() == [distance(word, term) for term in terms]


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_lengths_are_kept_to_five_per_cent(words: list[float]) -> None:
    given_ = np.array(words)
    kept = decode_lengths(encode_lengths(given_))
    expected = np.minimum(given_, 5000)
    assert (np.abs(kept - expected) <= np.maximum(0.0501, 0.05 * expected)).all()


def test_a_product_scores_the_same_in_any_shard() -> None:
    whole, cut = words_of(TITLES, BRANDS), words_of(TITLES, BRANDS, cut=3)
    for text in ("red", "running shoe", "acme re", "runing", "运动鞋"):
        rows = np.arange(len(TITLES))
        np.testing.assert_array_equal(whole.query(text).scores(rows), cut.query(text).scores(rows))
        assert find(whole, text) == find(cut, text)


def test_a_title_of_just_the_words_scores_one_and_others_less() -> None:
    words = words_of(TITLES, [None] * len(TITLES))
    assert words.query("hat RED").scores(np.array([1]))[0] == pytest.approx(1)
    assert find(words, "red hat ") == [1, 0, 3]
    assert (words.query("red hat ").scores(np.array([0, 3])) < 0.6).all()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("fussball", [4]),
        ("FUSSBALL", [4]),
        ("fusball", [4]),
        ("shoe ", [0]),
        ("shoe", [0, 2]),
        ("sho", [0, 2]),
        ("machien", [3]),
        ("machin", [3]),
        ("运动", [5]),
        ("运", [5]),
        ("红", [5]),
        ("nemo", [6]),
        ("4711", []),
        ("🦊!", []),
    ],
)
def test_how_people_type(text: str, rows: list[int]) -> None:
    assert sorted(find(words_of(TITLES, BRANDS), text)) == rows


def test_a_title_counts_more_than_an_attribute() -> None:
    assert find(words_of(["plain", "acme plain"], ["acme", "plain"]), "acme") == [1, 0]


def test_it_says_which_words_matched_and_how() -> None:
    words = words_of(TITLES, BRANDS)
    query = words.query("red runing sho")
    row = find(words, "red runing sho")[0]
    matched = [(word.word, reading.term, reading.how) for word, reading in query.match(row)]
    assert matched == [("red", "red", "word"), ("runing", "running", "spelling"), ("sho", "shoe", "beginning")]
    assert query.match(6) == []


def test_only_some_words_of_a_query_are_corrected() -> None:
    vocabulary = [f"{letter}word{letter}word" for letter in "abcdefghijkl"]
    words = words_of([" ".join(vocabulary)], [None])
    understood = words.understand(" ".join(word.replace("w", "v", 1) for word in vocabulary) + " ")
    assert [word.readings[0].term for word in understood[:MOST_MISSPELT]] == vocabulary[:MOST_MISSPELT]
    assert not any(word.readings for word in understood[MOST_MISSPELT:])


def test_dead_rows_are_not_found() -> None:
    alive = np.ones(len(TITLES), bool)
    alive[1] = False
    words = Words([build_postings(table(TITLES, BRANDS))], alive)
    query = words.query("red")
    assert query.candidates(10, None).tolist() == [0, 3, 4]
    assert query.scores(np.array([1])) == [0]


def test_texts_are_completed_by_what_most_products_have() -> None:
    words = words_of(TITLES, BRANDS)
    assert [(one.text, one.products) for one in words.complete("r", 5)] == [("red", 4), ("running", 3)]
    assert [one.text for one in words.complete("blue sh", 5)] == ["blue shoes"]
    assert [one.text for one in words.complete("red runing", 5)] == ["red running"]
    none: NDArray[np.bool_] = np.zeros(len(TITLES), bool)
    assert words.complete("r", 5, none) == []
    assert not words.complete("🦊", 5)
    assert not words.complete("", 5)


def complete(products: Sequence[tuple[str, str]], counted: Sequence[bool], text: str) -> dict[str, int]:
    """Complete the last word of a text whose words products have, by plain counting: products that have all of it."""
    parts = [set(tokenise(f"{title} {brand}")) for title, brand in products]
    *before, last = tokenise(text)
    known = set(before) & set().union(*parts)

    def count(words: set[str], allowed: Sequence[bool]) -> Counter[str]:
        there = [part for part, lives in zip(parts, allowed, strict=True) if lives and words <= part]
        return Counter(term for part in there for term in part if term.startswith(last))

    return dict(count(known, counted) or count(set(), counted))


@settings(max_examples=200, deadline=None)
@given(st.lists(PRODUCT, min_size=1, max_size=12), st.integers(0, 12), st.data())
def test_completions_count_what_lives_and_is_allowed_in_all_shards(
    products: list[tuple[str, str]], cut: int, data: st.DataObject
) -> None:
    masks = st.lists(st.booleans(), min_size=len(products), max_size=len(products)).map(np.array)
    alive, chosen = data.draw(masks), data.draw(st.none() | masks)
    alive[0] = True
    allowed = None if chosen is None else chosen & alive
    living = [one for one, lives in zip(products, alive, strict=True) if lives]
    there = sorted({word for title, brand in living for word in tokenise(f"{title} {brand}")})
    if not there:
        return
    before = data.draw(st.lists(st.sampled_from(there) | st.just("zzzzzz"), max_size=2))
    last = data.draw(st.sampled_from(there))
    text = " ".join([*before, last[: data.draw(st.integers(1, len(last)))]])
    words = words_of([title for title, _ in products], [brand for _, brand in products], cut=cut, alive=alive)
    found = words.complete(text, 50, allowed)
    assert {one.word: one.products for one in found} == complete(
        products, (alive if allowed is None else allowed).tolist(), text
    )
    assert [one.products for one in found] == sorted((one.products for one in found), reverse=True)
    assert {one.text for one in found} == {" ".join([*before, one.word]) for one in found}


def test_a_word_that_only_dead_products_have_is_unknown() -> None:
    alive = np.array([title != "Red hat" for title in TITLES])
    words = words_of(TITLES, BRANDS, cut=3, alive=alive)
    assert words.complete("ha", 5) == []
    assert words.frequency("hat") == 0
    assert not find(words, "hat ")
    assert [one.text for one in words.complete("red hat ru", 5)] == ["red hat running"]


def test_words_before_are_read_as_a_search_reads_them() -> None:
    words = words_of(TITLES, BRANDS)
    assert [(one.text, one.products) for one in words.complete("runing sho", 5)] == [
        ("runing shoe", 1),
        ("runing shoes", 1),
    ]
    assert [(one.text, one.products) for one in words.complete("xyzzy hat re", 5)] == [("xyzzy hat red", 1)]
    # nothing is blue and a hat: then the last word alone counts
    assert [(one.text, one.products) for one in words.complete("blue ha", 5)] == [("blue hat", 1)]


def test_what_few_products_have_is_completed_where_a_filter_leaves_only_them() -> None:
    titles = [f"a{number} common" for number in range(200)] + ["a999 rare"]
    words = words_of(titles + [f"a{number}" for number in range(200)], [None] * 401)
    assert [one.word for one in words.complete("rare a", 5)] == ["a999"]
    allowed = np.arange(401) == 200
    assert [(one.word, one.products) for one in words.complete("a", 5, allowed)] == [("a999", 1)]


def test_huge_and_odd_texts_are_indexed() -> None:
    texts = ["word " * 1_000_000, "'; DROP TABLE products;--", "a\x00b", "\u202eevil", "x" * 5_000_000, "red"]
    words = words_of(texts, [None] * len(texts))
    assert find(words, "red ") == [5]
    assert find(words, "drop table") == [1]
    assert find(words, "evil") == [3]
    assert find(words, "word ") == [0]
    assert find(words, " ".join(f"w{number}" for number in range(10_000))) == []


def test_a_catalogue_without_words_is_empty() -> None:
    words = words_of([None, "", "🦊"], [None, None, None])
    assert words.is_empty
    assert not find(words, "red")
    assert not words.complete("re", 3)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = write(tmp_path)
    built, read = build_postings(table(TITLES, BRANDS)), Postings.open(file, len(TITLES))
    for name in Postings.__slots__:
        np.testing.assert_array_equal(getattr(built, name), getattr(read, name))
        assert getattr(read, name).flags.aligned
    assert Words([read]).query("red hat").candidates(1, None).tolist() == [1]
    again = io.BytesIO()
    read.write(again)
    assert again.getvalue() == file.read_bytes()


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    whole = file.read_bytes()
    with pytest.raises(CorruptError, match="do not fit"):
        Postings.open(file, len(TITLES) + 1)
    for damaged in (b"", whole[:-9], whole[: len(whole) // 2], b"x" * len(whole), whole.replace(b"<u4", b"<f4", 1)):
        file.write_bytes(damaged)
        with pytest.raises(CorruptError):
            Postings.open(file, len(TITLES))
