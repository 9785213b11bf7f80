"""The index of texts: which products are in it, and that what it finds is what comparing with each finds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from lookalike.data.embeddings import Embeddings
from lookalike.data.errors import CorruptError, InputError
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import TEXT, ShardSection, SpaceSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build import texts as building
from lookalike.tasks.build.jobs import Measurement
from lookalike.tasks.build.texts import TextChoice, TextPlan
from lookalike.tasks.build.train import train_index
from lookalike.tasks.embed.texts import embed_texts, find_texts_to_embed, give_up_text
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.stored import load_text_encoder, store_text_encoder
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.meaning import AT_ONCE, Meaning, NearTexts, TextSpace, read_rows
from lookalike.tasks.search.neighbours import SearchParameters
from tests.support.snapshots import draft

COLOURS = ("red", "blue", "green", "leather", "cotton", "wool", "tiny", "large", "old", "new")
THINGS = ("shoe", "hat", "bag", "coat", "lamp", "chair", "table", "spoon", "fork", "knife")
WORDS = (*COLOURS, *THINGS)
FOUND_ALL = Measurement(1.0, 0.001, SearchParameters())


def make_titles(count: int, seed: int = 1) -> list[str | None]:
    """Return titles, some of them the same, and every fifth one of no use."""
    random = np.random.default_rng(seed)
    titles: list[str | None] = [" ".join(random.choice(WORDS, 3)) for _ in range(count)]
    useless = [None, "", "  ", "\x00", "🦊"]
    titles[::5] = [useless[place % 5] for place in range(len(titles[::5]))]
    return titles


class Place:
    """A store with shards of titled products, and all of their texts encoded."""

    def __init__(self, folder: Path, shards: Sequence[Sequence[str | None]]) -> None:
        self.folder = folder
        self.uri = str(folder / "store")
        self.store: ObjectStore = open_store(self.uri)
        self.choice = TextChoice(store_text_encoder(self.store, "fake"), ("title",))
        self.encoder = load_text_encoder(self.uri, self.choice.encoder, 1)
        self.titles = [title for titles in shards for title in titles]
        self.shards = [self._store_products(titles) for titles in shards]
        self.encode(self.shards)

    def encode(self, shards: Sequence[ShardSection]) -> int:
        """Encode what has no vector; return how many texts that were."""
        tables = (table for shard in shards for table in building.read_shard_texts(self.store, shard))
        embeddings = Embeddings(self.store, self.choice.encoder.fingerprint)
        found = find_texts_to_embed(tables, self.choice.fields, embeddings, self._new_table)
        for part in found.cut_partitions(1):
            embed_texts(part, store=self.uri, encoder=self.choice.encoder, threads=1)
        return found.count

    def build(self, plan: TextPlan | None = None) -> tuple[ShardSection, ...]:
        chosen = plan or building.plan_texts(self.uri, self.choice, self.shards, None, threads=1)
        assert chosen is not None
        parts = [building.build_text_part(self.uri, self.choice, chosen, one, threads=1) for one in self.shards]
        return building.with_text_parts(self.shards, parts)

    def open(self, built: Sequence[ShardSection], alive: np.ndarray | None = None) -> TextSpace:
        rows, files, start = [], [], 0
        for shard in built:
            if part := shard.spaces.get(TEXT):
                inside = read_rows(blobs.read(self.store, part.rows) if part.rows else None, shard.count)
                rows.append(inside + start)
                files.append(self._fetch(part.index))
            start += shard.count
        every = np.concatenate(rows)
        index = ShardedIndex.open(
            files,
            [len(some) for some in rows],
            self.choice.encoder.dimension,
            nprobe=None,
            alive=None if alive is None else alive[every],
        )
        return TextSpace(self.choice.encoder, self.encoder, index, every, start, alive)

    def _store_products(self, titles: Sequence[str | None]) -> ShardSection:
        table = pa.table({"title": pa.array(titles, pa.string())})
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "products.parquet"
            pq.write_table(table, file)
            products = blobs.put_file(self.store, file)
        return ShardSection.of(index=products, products=products, count=len(titles))

    def _fetch(self, blob: Blob) -> Path:
        path = self.folder / blob.sha256
        path.write_bytes(blobs.read(self.store, blob))
        return path

    def _new_table(self, name: str) -> PartitionedTable:
        return PartitionedTable(Path(tempfile.mkdtemp(dir=self.folder)) / name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    titles = make_titles(600)
    return Place(tmp_path, [titles[:250], ["", None], titles[250:]])


def test_a_text_is_encoded_once(place: Place) -> None:
    assert place.encode(place.shards) == 0
    assert place.encode([place._store_products(["one more", "one more", place.titles[1]])]) == 1


@pytest.mark.parametrize("key", ["Flat", "IVF8,SQ8"])
def test_what_is_found_is_what_comparing_with_each_finds(place: Place, key: str) -> None:
    built = place.build(make_plan(place, key))
    space = place.open(built)
    texts = [(title or "").strip() for title in place.titles]
    vectors = encode_texts(place.encoder, texts)
    has_text = np.any(vectors, axis=1)
    random = np.random.default_rng(2)
    for query in ("red shoe", "tiny leather bag", "spoon", "old old hat"):
        vector = space.embed(query)
        expected = np.clip(vectors @ vector, 0.0, 1.0)
        for share in (None, 0.5, 0.02):
            allowed = None if share is None else random.random(len(texts)) < share
            mask = has_text if allowed is None else has_text & allowed
            rows = Meaning(NearTexts(space, vector)).candidates(10, allowed)
            assert mask[rows].all()
            best = np.sort(expected[mask])[::-1][: len(rows)]
            if key == "Flat":
                assert expected[rows] == pytest.approx(best, abs=0.002)
            asked = random.choice(len(texts), 50, replace=False)
            scores = Meaning(NearTexts(space, vector)).scores(asked)
            assert scores == pytest.approx(np.where(has_text[asked], expected[asked], 0.0), abs=0.02)
            assert not scores[~has_text[asked]].any()


@pytest.mark.parametrize("key", ["Flat", "IVF8,SQ8"])
def test_one_search_serves_all_that_look_no_further(place: Place, key: str) -> None:
    space = place.open(place.build(make_plan(place, key)))
    vector, odd = space.embed("red shoe"), np.arange(len(place.titles)) % 2 == 1
    near = NearTexts(space, vector)
    for k, allowed in ((30, None), (AT_ONCE, None), (10, odd), (AT_ONCE + 20, odd), (5, None)):
        scores, rows = near.find(k, allowed)
        alone, _ = space.search(vector, k, allowed)
        assert len(rows) == len(alone) == k
        assert (scores >= alone).all()  # who looks further visits more lists
        assert key != "Flat" or scores.tolist() == alone.tolist()
        assert scores == pytest.approx(space.scores(vector, rows), abs=1e-5)
        assert allowed is None or allowed[rows].all()


def make_plan(place: Place, key: str) -> TextPlan:
    if key == "Flat":
        return TextPlan("Flat", 480, 480, None, "")
    texts = list({title.strip() for title in place.titles if title and title.strip()})
    vectors = encode_texts(place.encoder, texts)
    trained = train_index(key, vectors[np.any(vectors, axis=1)], threads=1)
    return TextPlan(key, 480, 480, blobs.put_bytes(place.store, trained), "")


def test_what_is_dead_is_not_found(place: Place) -> None:
    alive = np.ones(len(place.titles), bool)
    alive[::3] = False
    space = place.open(place.build(), alive)
    _, rows = space.search(space.embed("red shoe"), 1000)
    assert len(rows)
    assert alive[rows].all()


def test_products_without_a_text_have_no_row(place: Place) -> None:
    built = place.build()
    assert [TEXT in shard.spaces for shard in built] == [True, False, True]
    part = built[0].spaces[TEXT]
    assert part.rows is not None
    rows = read_rows(blobs.read(place.store, part.rows), 250)
    assert not {row for row in rows.tolist() if row % 5 == 0}
    assert len(rows) == 200


def test_the_same_texts_give_the_same_bytes(place: Place) -> None:
    assert place.build() == place.build()


def test_large_catalogues_get_lists_that_are_tuned(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "FLAT_UP_TO", 100)
    plan = building.plan_texts(place.uri, place.choice, place.shards, None, threads=1)
    assert plan is not None
    assert plan.key.startswith("IVF")
    built = place.build(plan)
    measured = building.evaluate_texts(place.uri, place.choice, built, 0.95, threads=1)
    assert measured.recall >= 0.95
    assert measured.parameters.nprobe is not None

    parent = building.describe_text_space(place.choice, plan, measured)
    again = building.plan_texts(place.uri, place.choice, place.shards, parent, threads=1)
    assert again is not None
    assert (again.key, again.trained, again.trained_on) == (plan.key, plan.trained, plan.trained_on)


def test_a_vector_that_the_store_lost(place: Place) -> None:
    for found in list(place.store.list("embeddings/")):
        place.store.delete(found.key)
    with pytest.raises(CorruptError, match="run again to embed them"):
        place.build()


def test_a_text_that_kills_its_worker_has_no_meaning(tmp_path: Path) -> None:
    place = Place(tmp_path, [["red shoe", "blue hat"]])
    table = pa.table({"text_hash": [b"\1" * 32], "text": ["poison"]})
    assert give_up_text(table, store=place.uri, encoder=place.choice.encoder) == 0
    hashes, vectors = Embeddings(place.store, place.choice.encoder.fingerprint).read()
    assert not vectors[hashes.tolist().index(b"\1" * 32)].any()


def test_nothing_to_find(tmp_path: Path) -> None:
    place = Place(tmp_path, [[None, "", " "]])
    assert building.plan_texts(place.uri, place.choice, place.shards, None, threads=1) is None


def test_a_query_without_meaning(place: Place) -> None:
    with pytest.raises(InputError, match="write words"):
        place.open(place.build()).embed("🦊 \x00")


@pytest.mark.parametrize(
    "rows", [[3, 2], [1, 1], [0, 9], []], ids=["descending", "repeated", "beyond the shard", "none"]
)
def test_rows_that_are_none(rows: list[int]) -> None:
    with pytest.raises(CorruptError, match="rows of a space"):
        read_rows(building.rows_to_bytes(np.array(rows, np.int64)), 5)
    with pytest.raises(CorruptError, match="cannot be read"):
        read_rows(b"nothing", 5)


def test_what_makes_texts_change(place: Place) -> None:
    titles = [text for text in place.titles if text and text.strip()]
    assert titles
    space = building.describe_text_space(place.choice, make_plan(place, "Flat"), FOUND_ALL)
    other = TextChoice(place.choice.encoder, ("title", "brand"))

    def change(text: SpaceSection | None, choice: TextChoice | None, shards: Sequence[ShardSection]) -> str | None:
        parent = draft(place.store, [1]).model_copy(update={"shards": tuple(shards)})
        spaces = {**parent.spaces, TEXT: text} if text else parent.spaces
        return building.find_text_change(place.store, parent.model_copy(update={"spaces": spaces}), choice)

    assert change(space, place.choice, place.shards) is None
    assert change(None, None, place.shards) is None
    assert "no longer" in (change(space, None, place.shards) or "")
    assert "otherwise" in (change(space, other, place.shards) or "")
    assert "otherwise" in (change(None, place.choice, place.shards) or "")
    assert change(None, place.choice, place.shards[1:2]) is None  # there is no text to encode


class Numbers:
    """A channel that scores a row by its number."""

    def __init__(self, count: int) -> None:
        self._values = np.random.default_rng(5).random(count).astype(np.float32)

    def candidates(self, reach: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        order = np.argsort(-self._values, kind="stable")
        return order[np.ones(len(order), bool) if allowed is None else allowed[order]][:reach]

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._values[rows]


def test_pictures_speak_for_products_without_a_text(place: Place) -> None:
    """Filtered and not: the best are those of comparing with each product."""
    alive = np.random.default_rng(3).random(len(place.titles)) < 0.8
    space = place.open(place.build(), alive)
    numbers = Numbers(len(place.titles))
    channel = Meaning(NearTexts(space, space.embed("red shoe")), numbers)
    every = np.arange(len(place.titles))
    scores = channel.scores(every)
    assert np.array_equal(scores[~space.has_text(every)], numbers.scores(every[~space.has_text(every)]))
    for allowed in (None, alive & (every % 2 == 0)):
        findable = alive if allowed is None else allowed
        found = channel.candidates(20, allowed)
        assert findable[found].all()
        assert scores[found] == pytest.approx(np.sort(scores[findable])[::-1][:20], abs=1e-5)


def test_no_pictures_speak_where_each_product_has_a_text(tmp_path: Path) -> None:
    place = Place(tmp_path, [["red shoe", "blue hat"]])
    space = place.open(place.build())
    assert space.without is None
    vector, rows = space.embed("red shoe"), np.arange(2)
    texts = NearTexts(space, vector)
    assert Meaning(texts, Numbers(2)).scores(rows).tolist() == Meaning(texts).scores(rows).tolist()
