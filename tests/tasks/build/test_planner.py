"""The planner's choices, why it makes them, when it keeps what was trained, and that each kind of index is built."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import faiss
import pytest

from lookalike.data.errors import InputError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
)
from lookalike.tasks.build.planner import KINDS, Kind, OperatingPoint, Plan, Wish, count_lists, make_index_key, plan
from tests.support.snapshots import with_image_space

BLOB = Blob(sha256="0" * 64, size=1)


def parent(trained_on: int, fingerprint: str = "f", quality: dict[str, float] | None = None) -> Manifest:
    return Manifest(
        id="20260101T000000Z-00000000",
        content="0" * 64,
        created_at=datetime.now(UTC),
        code_version="0",
        run="r",
        parent=None,
        catalogue=CatalogueSection(id="c", uri="u", products=trained_on),
        spaces={
            "image": SpaceSection.of(
                EncoderSection(name="e", fingerprint=fingerprint, dimension=1280, spec=BLOB, model=BLOB),
                BLOB,
                IndexSection(key="Flat", dimension=128, trained_on=trained_on, reason=""),
            )
        },
        shards=(ShardSection.of(index=BLOB, products=BLOB, count=trained_on),),
        quality=quality or {},
    )


def planned(products: int, shards: int | None = None, base: Manifest | None = None) -> Plan:
    return plan(products, 1280, "f", shards=shards, parent=base)


@pytest.mark.parametrize(
    ("products", "key", "dimension", "shards"),
    [
        (1, "Flat", 1280, 1),
        (2000, "Flat", 256, 1),
        (50_000, "Flat", 256, 1),
        (50_001, "IVF512,SQ8", 256, 1),
        (1_000_000, "IVF8192_HNSW32,SQ8", 256, 2),
    ],
)
def test_chooses_by_size(products: int, key: str, dimension: int, shards: int) -> None:
    chosen = planned(products)
    assert (chosen.key, chosen.dimension, chosen.shards) == (key, dimension, shards)
    assert f"{products:,} products" in chosen.reason


@pytest.mark.parametrize(
    ("pictures", "distorted", "dimension"),
    [(9, 0, 1280), (20, 20, 32), (100, 50, 128), (300, 50, 256), (9000, 150, 256)],
)
def test_pictures_with_distorted_copies_give_a_projection_to_small_catalogues(
    pictures: int, distorted: int, dimension: int
) -> None:
    copied = tuple(bytes([number]) for number in range(distorted))
    chosen = plan(pictures, 1280, "f", shards=None, parent=None, distort=lambda: copied)
    assert (chosen.dimension, chosen.project, chosen.distorted) == (dimension, bool(distorted), copied)
    assert (f"distorted copies of {distorted} pictures" in chosen.reason) is bool(distorted)


def test_copies_are_wanted_only_where_something_is_learnt() -> None:
    def distort() -> tuple[bytes, ...]:
        raise AssertionError("nothing is learnt")

    assert plan(1001, 1280, "f", shards=None, parent=parent(1000), distort=distort).keep_trained


@pytest.mark.parametrize(("asked", "kept"), [(None, True), (128, True), (64, False), (256, False)])
def test_a_lineage_ends_where_other_dimensions_are_asked_for(asked: int | None, kept: bool) -> None:
    anew = plan(1500, 1280, "f", shards=None, parent=parent(1500), wish=Wish(dimension=asked))
    assert anew.keep_trained is kept
    assert anew.dimension == (asked or 128)
    assert kept or f"{asked} dimensions are asked for, and it has 128" in anew.reason


def test_dimensions_that_a_catalogue_is_too_small_for_are_no_reason_to_train_each_night() -> None:
    base = parent(600)
    assert plan(600, 1280, "f", shards=None, parent=base, wish=Wish(dimension=256)).keep_trained


def test_takes_the_shards_that_were_asked_for() -> None:
    assert planned(1000, shards=3).shards == 3


@pytest.mark.parametrize(("products", "kept"), [(1001, True), (1999, True), (2001, False), (600, True), (400, False)])
def test_keeps_what_was_trained_until_the_catalogue_doubles_or_halves(products: int, kept: bool) -> None:
    chosen = planned(products, base=parent(1000))
    assert chosen.keep_trained is kept
    assert not kept or chosen.dimension == 128


def test_a_projection_is_learnt_from_different_pictures() -> None:
    one = plan(200, 1280, "f", shards=None, parent=None, pictures=1)
    assert (one.project, one.dimension) == (False, 1280)
    assert "too few pictures to learn a projection from" in one.reason
    assert plan(200, 1280, "f", shards=None, parent=None, pictures=150).dimension == 32


@pytest.mark.parametrize(("dimension", "asked"), [(1280, 256), (256, 256), (192, 192), (24, None)])
def test_what_is_measured_is_what_will_be_built(dimension: int, asked: int | None) -> None:
    measured: list[int | None] = []

    def measure(outputs: int | None) -> list[OperatingPoint]:
        measured.append(outputs)
        return [FLAT]

    chosen = plan(60_000, dimension, "f", shards=None, parent=None, measure=measure)
    assert measured == [asked]
    assert (chosen.project, chosen.dimension) == (asked is not None, asked or dimension)


def test_another_encoder_trains_anew() -> None:
    assert not planned(1000, base=parent(1000, fingerprint="other")).keep_trained


def point(kind: Kind, milliseconds: float, size: float, recall: float = 0.96) -> OperatingPoint:
    return OperatingPoint(
        kind=kind,
        sample=32_768,
        recall=recall,
        query_ms=milliseconds,
        bytes_per_vector=size,
        parameters="",
        compared=1000,
        compared_in_all=2000 if kind.startswith("IVF") else None,
    )


FLAT = point("Flat", 1.0, 1024, recall=1.0)
SQ8 = point("IVF SQ8", 0.2, 264)
RABITQ = point("IVF RaBitQ", 0.1, 310)
GRAPH = point("HNSW SQ8", 0.08, 540)


def chosen(*points: OperatingPoint, products: int = 1_000_000, wish: Wish | None = None) -> Plan:
    return plan(products, 1280, "f", shards=None, parent=None, wish=wish, measure=lambda _: points)


class TestOperatingPoints:
    """The choice follows from what was measured, and the reason says what that was."""

    def test_the_fastest_at_the_recall_is_chosen(self) -> None:
        assert chosen(FLAT, SQ8, RABITQ).key == "IVF8192_HNSW32,RaBitQfs,Refine(SQ8)"

    def test_a_graph_of_each_shard_costs_as_many_walks(self) -> None:
        assert chosen(GRAPH, RABITQ, products=200_000).key == "HNSW32,SQ8"
        assert chosen(GRAPH, RABITQ).key == "IVF8192_HNSW32,RaBitQfs,Refine(SQ8)"

    def test_short_lists_where_they_are_faster(self) -> None:
        short = point("IVF SQ8 short", 0.05, 264)
        assert chosen(FLAT, SQ8, RABITQ, short).key == "IVF32768_HNSW32,SQ8"
        assert chosen(FLAT, SQ8, short, wish=Wish(max_bytes=340_000_000)).key == "IVF8192_HNSW32,SQ8"  # its centroids

    def test_the_smallest_of_those_that_are_about_as_fast(self) -> None:
        assert chosen(RABITQ, point("IVF SQ8", 0.12, 264)).key == "IVF8192_HNSW32,SQ8"

    def test_what_does_not_reach_the_recall_is_no_choice(self) -> None:
        assert chosen(SQ8, point("IVF RaBitQ", 0.1, 310, recall=0.94)).key == "IVF8192_HNSW32,SQ8"
        assert chosen(SQ8, point("IVF RaBitQ", 0.1, 310, recall=0.94), wish=Wish(0.9)).key.count("RaBitQ")

    def test_the_best_of_a_bad_lot_where_nothing_reaches_the_recall(self) -> None:
        """The gate refuses it then; nothing is promised here."""
        low = [point("IVF SQ8", 0.2, 264, recall=0.8), point("IVF PQ", 0.1, 310, recall=0.9)]
        best = chosen(*low)
        assert best.key == "IVF8192_HNSW32,PQ64x4fs,Refine(SQ8)"
        assert "nothing reaches recall@10 0.95, this comes nearest; expected from a sample of 32,768" in best.reason

    def test_what_does_not_fit_into_the_memory_is_no_choice(self) -> None:
        assert chosen(FLAT, SQ8, RABITQ, wish=Wish(max_bytes=320_000_000)).key == "IVF8192_HNSW32,SQ8"

    def test_says_what_the_smallest_takes_where_nothing_fits(self) -> None:
        with pytest.raises(InputError, match=r"no index of 1,000,000 products fits into 1,000,000 bytes.*SQ8"):
            chosen(FLAT, SQ8, RABITQ, wish=Wish(max_bytes=1_000_000))

    def test_lists_stay_on_disk_where_nothing_in_memory_reaches_the_recall(self) -> None:
        short = point("IVF PQ", 0.1, 80, recall=0.9)
        best = chosen(FLAT, SQ8, short, wish=Wish(max_bytes=100_000_000))
        assert (best.key, best.on_disk) == ("IVF8192_HNSW32,SQ8", True)
        assert (
            "nothing in memory reaches recall@10 0.95 within 100,000,000 bytes, so the inverted lists stay"
            in best.reason
        )
        assert "IVF8192_HNSW32,SQ8 with lists on disk recall 0.960 in 0.40 ms and 14 MiB" in best.reason
        assert not chosen(FLAT, SQ8, short, wish=Wish(max_bytes=300_000_000)).on_disk
        assert not chosen(FLAT, SQ8, short, wish=Wish(0.9, 110_000_000)).on_disk
        assert not chosen(FLAT, SQ8, short).on_disk

    def test_the_reason_names_the_wish_and_every_kind(self) -> None:
        reason = chosen(FLAT, SQ8, RABITQ, wish=Wish(0.95, 10**9)).reason
        assert "recall@10 0.95 within 1,000,000,000 bytes" in reason
        assert all(key in reason for key in ("Flat recall 1.000 in 30.52 ms", ",SQ8 recall", "RaBitQfs,Refine(SQ8)"))

    @pytest.mark.parametrize("products", [1, 50_000])
    def test_a_small_catalogue_is_not_measured(self, products: int) -> None:
        assert chosen(products=products).key == "Flat"

    def test_a_small_catalogue_that_is_too_large_for_the_memory_is(self) -> None:
        assert chosen(FLAT, SQ8, products=40_000, wish=Wish(max_bytes=20_000_000)).key == "IVF256,SQ8"


GOOD = {"recall_at_10": 0.96, "imbalance": 1.3, "imbalance_when_trained": 1.2}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"fingerprint": "other"}, "trained again: another encoder than e's"),
        ({"trained_on": 400}, "trained again: the catalogue was trained on at 400 products"),
        ({"quality": {**GOOD, "recall_at_10": 0.93}}, "trained again: recall@10 was 0.930 in the last snapshot"),
        ({"quality": {**GOOD, "imbalance": 1.9}}, "trained again: lists became uneven: 1.90, 1.20 when trained"),
    ],
)
def test_says_why_a_lineage_ends(changed: dict[str, Any], reason: str) -> None:
    kept = planned(1000, base=parent(1000, quality=GOOD))
    assert kept.keep_trained
    assert kept.reason == "as in snapshot 20260101T000000Z-00000000, trained on 1,000 products"
    anew = planned(1000, base=parent(**{"trained_on": 1000, "quality": GOOD, **changed}))
    assert not anew.keep_trained
    assert reason in anew.reason


def test_a_lineage_ends_where_what_it_led_to_was_refused() -> None:
    base = parent(1000, quality=GOOD)
    anew = plan(1000, 1280, "f", shards=None, parent=base, refused_recall=0.93)
    assert not anew.keep_trained
    assert "trained again: recall@10 was 0.930 in the last run, and refused" in anew.reason
    assert plan(1000, 1280, "f", shards=None, parent=base, refused_recall=0.97).keep_trained  # for another reason


def test_lists_are_as_many_as_the_pictures_can_teach() -> None:
    plan_many = partial(plan, 1_000_000, 1280, "f", shards=1, parent=None, pictures=40_000)
    assert plan_many().key == "IVF2048_HNSW32,SQ8"
    assert plan_many(measure=lambda _: [SQ8]).key == "IVF2048_HNSW32,SQ8"


def test_what_a_server_holds_beside_the_file_counts() -> None:
    """Four bytes a product: the list that it lies in."""
    base = parent(60_000)
    lists = with_image_space(base, index=base.index.model_copy(update={"key": "IVF512,SQ8"}))
    small = point("IVF SQ8", 0.2, 0.1)
    for room, kept in ((5 * 60_000, True), (4 * 60_000, False)):
        wish = Wish(max_bytes=room)
        anew = plan(60_000, 8, "f", shards=None, parent=lists, wish=wish, measure=lambda _: [small])
        assert anew.keep_trained is kept


def test_lists_leave_the_disk_when_memory_is_not_limited_any_more() -> None:
    base = parent(60_000)
    index = base.index.model_copy(update={"key": "IVF512,SQ8", "on_disk": True})
    lists = with_image_space(base, index=index)
    replan = partial(plan, 60_000, 1280, "f", shards=None, parent=lists, measure=lambda _: [SQ8])
    kept = replan(wish=Wish(max_bytes=1_000_000))
    assert (kept.keep_trained, kept.on_disk) == (True, True)
    moved = replan()
    assert (moved.keep_trained, moved.on_disk) == (False, False)
    assert "memory is not limited any more" in moved.reason


def test_a_lineage_ends_where_it_outgrows_the_memory() -> None:
    base = parent(60_000)  # of one byte a product
    small = plan(60_000, 1280, "f", shards=None, parent=base, wish=Wish(max_bytes=1), measure=lambda _: [FLAT])
    assert small.keep_trained
    with pytest.raises(InputError, match="fits into 1 bytes"):
        plan(119_999, 1280, "f", shards=None, parent=base, wish=Wish(max_bytes=1), measure=lambda _: [FLAT])


@pytest.mark.parametrize("dimension", [32, 64, 100, 256, 257, 768])
@pytest.mark.parametrize("kind", KINDS)
def test_faiss_knows_every_key(kind: Kind, dimension: int) -> None:
    index = faiss.index_factory(
        dimension, make_index_key(kind, 100_000, 100_000, dimension), faiss.METRIC_INNER_PRODUCT
    )
    assert index.d == dimension


@pytest.mark.parametrize(
    ("products", "lists", "short"),
    [(1, 1, 1), (50_001, 512, 2048), (250_000, 2048, 8192), (1_000_000, 8192, 32_768), (10**7, 65_536, 65_536)],
)
def test_lists_have_about_as_many_rows_whatever_the_catalogue(products: int, lists: int, short: int) -> None:
    assert count_lists("IVF SQ8", products, products) == count_lists("IVF PQ", products, products) == lists
    assert count_lists("IVF SQ8 short", products, products) == short


@pytest.mark.parametrize(("pictures", "lists"), [(1, 1), (31, 1), (32, 2), (600, 32), (16_384, 512), (50_001, 512)])
def test_lists_are_no_more_than_pictures_can_teach(pictures: int, lists: int) -> None:
    assert count_lists("IVF SQ8", 50_001, pictures) == lists


@pytest.mark.parametrize("kind", ["Flat", "HNSW SQ8"])
def test_there_are_kinds_without_lists(kind: Kind) -> None:
    assert count_lists(kind, 100_000, 100_000) == 0


def test_many_centroids_are_found_by_a_graph() -> None:
    assert make_index_key("IVF RaBitQ", 100_000, 100_000, 64) == "IVF1024,RaBitQfs,Refine(SQ8)"
    assert make_index_key("IVF PQ", 1_000_000, 1_000_000, 64) == "IVF8192_HNSW32,PQ16x4fs,Refine(SQ8)"
