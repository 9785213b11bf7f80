"""Scanning: what came, went and changed, and that pictures which did not move are not read again."""

from __future__ import annotations

from random import Random
from typing import Any

import pyarrow as pa
import pytest

from lookalike.data.catalogue.rejects import SCHEMA
from lookalike.data.embeddings import HASH
from lookalike.tasks.scan.join import ADDED, NOWHERE, PICTURE, SAME, TEXT, Joined, changes, join, with_hashes


def row(
    product: str, version: str | None = "1", title: str = "t", image: str = "", **attributes: Any
) -> dict[str, Any]:
    return {
        "id": product, "title": title, "image": image or product, "image_version": version,
        "attributes": {"price": None, "tags": None, **attributes},
    }  # fmt: skip


ATTRIBUTES = pa.struct([("price", pa.float64()), ("tags", pa.list_(pa.string()))])
COLUMNS = pa.schema(
    [*((name, pa.string()) for name in ("id", "title", "image", "image_version")), ("attributes", ATTRIBUTES)]
)


def catalogue(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=COLUMNS)


def published(*rows: dict[str, Any]) -> pa.Table:
    table = catalogue(*rows)
    hashes = pa.array([hash_of(one["id"]) for one in rows], HASH)
    return table.append_column("image_hash", hashes).append_column("place", pa.array(range(10, 10 + len(rows))))


def hash_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def read(joined: Joined) -> Joined:
    """Return the same once the pictures without a hash were read, and found to be new ones."""
    hashes = [one or hash_of(f"new {i}") for i, one in enumerate(joined.products["image_hash"].to_pylist())]
    return Joined(with_hashes(joined.products, hashes), joined.rejects, joined.gone)


def test_each_product_is_told_by_what_changed() -> None:
    before = published(row("same"), row("title"), row("price", price=1.0), row("moved"), row("gone"), row("nan"))
    now = catalogue(
        row("same"),
        row("title", title="another"),
        row("price", price=2.0),
        row("moved", version="2"),
        row("new"),
        row("nan", price=float("nan")),
    )
    joined = join(now, before)
    unknown = joined.products.filter(joined.products["image_hash"].is_null())["id"].to_pylist()
    assert unknown == ["moved", "new"]
    found = dict(zip(now["id"].to_pylist(), changes(read(joined).products).tolist(), strict=True))
    assert found == {"same": SAME, "title": TEXT, "price": TEXT, "moved": PICTURE, "new": ADDED, "nan": TEXT}
    assert joined.gone.to_pylist() == [{"id": "gone", "place": 14}]
    assert joined.products["place"].to_pylist() == [10, 11, 12, 13, NOWHERE, 15]


def test_not_a_number_is_like_itself_and_a_missing_attribute_like_none() -> None:
    before = published(row("a", price=float("nan"), tags=["x"]), row("b"))
    now = before.select(COLUMNS.names)
    trimmed = pa.StructArray.from_arrays([pa.array([float("nan"), None])], ["price"])
    assert changes(join(now, before).products).tolist() == [SAME, SAME]
    without = now.set_column(4, "attributes", trimmed)
    assert changes(join(without, before).products).tolist() == [TEXT, SAME]


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ([True], [1], TEXT),
        ([0], [False], TEXT),
        ([[True]], [[1]], TEXT),
        ([1.0], [True], TEXT),
        ([1.0], [1], SAME),
        ([[1.0]], [[1]], SAME),
        ([True], [True], SAME),
        (["1"], [1], TEXT),
    ],
)
def test_true_is_no_number_and_a_whole_number_is_the_same_in_every_type(
    before: list[Any], now: list[Any], found: int
) -> None:
    def with_attribute(table: pa.Table, values: list[Any], *more: str) -> pa.Table:
        nothing = [pa.nulls(1, pa.string()) for _ in more]
        return table.set_column(4, "attributes", pa.StructArray.from_arrays([pa.array(values), *nothing], ["a", *more]))

    old = with_attribute(published(row("p")), before)
    assert changes(join(with_attribute(catalogue(row("p")), now), old).products).tolist() == [found]
    assert changes(join(with_attribute(catalogue(row("p")), now, "empty"), old).products).tolist() == [found]


@pytest.mark.parametrize("seed", range(20))
def test_looking_at_columns_tells_what_looking_at_each_product_tells(seed: int) -> None:
    """A second row of one id makes `join` look at each."""
    random = Random(seed)

    def some(number: int) -> dict[str, Any]:
        image, version = random.choice(["a", "b"]), random.choice(["1", "1", "2", "", None])
        attributes = {"price": random.choice([None, 1.0, float("nan")]), "tags": random.choice([None, [], ["x"]])}
        return row(f"p{number}", image=image, version=version, title=random.choice("ttu"), **attributes)

    # a picture has one hash for each version of it, whichever product shows it
    rows = [some(number) for number in range(40)]
    before = published(*rows)
    hashes = pa.array([hash_of(f"{one['image']}{one['image_version']}") for one in rows], HASH)
    before = before.set_column(before.schema.get_field_index("image_hash"), "image_hash", hashes)
    now = [random.choice([some(number), rows[number]]) if number < 40 else some(number) for number in range(10, 50)]
    by_column, each = join(catalogue(*now), before), join(catalogue(*now, now[0]), before)
    assert [reject.reason for reject in each.rejects] == ["duplicate_id"]
    assert by_column.rejects == []
    assert by_column.gone == each.gone
    found, wanted = (sorted(map(repr, one.products.to_pylist())) for one in (by_column, each))
    assert found == wanted
    assert {SAME, ADDED} <= set(changes(by_column.products).tolist())


def test_a_picture_that_was_only_touched_is_the_same() -> None:
    joined = join(catalogue(row("a", version="2")), published(row("a")))
    again = with_hashes(joined.products, [hash_of("a")])
    assert changes(again).tolist() == [SAME]


def test_a_reference_that_moved_is_a_change_though_the_picture_is_the_same() -> None:
    joined = join(catalogue(row("a", image="elsewhere")), published(row("a")))
    assert changes(with_hashes(joined.products, [hash_of("a")])).tolist() == [TEXT]


def test_pictures_that_an_earlier_run_read_are_not_read_again() -> None:
    known = pa.table(
        {"id": ["b"], "image": ["b"], "image_version": ["1"], "image_hash": pa.array([hash_of("b")], HASH)}
    )
    now = catalogue(row("a"), row("b"), row("c", version=None))
    joined = join(now, published(row("a"), row("c", version=None)), [known])
    assert joined.products["image_hash"].to_pylist() == [hash_of("a"), hash_of("b"), None]
    assert join(now, None, [known], trust=False).products["image_hash"].null_count == 3


def test_the_same_id_again_is_a_reject_and_the_first_one_counts() -> None:
    joined = join(catalogue(row("a", title="first"), row("b"), row("a", title="second")), None)
    assert joined.products["title"].to_pylist() == ["first", "t"]
    assert [(reject.id, reject.reason) for reject in joined.rejects] == [("a", "duplicate_id")]


def test_what_could_not_be_used_is_not_tried_again_until_it_changes() -> None:
    bad = {"reference": "a", "stage": "decode", "reason": "damaged", "message": "m"}
    rejected = pa.Table.from_pylist(
        [{"id": "a", "version": "1", **bad}, {"id": "b", "version": "", **bad}], schema=SCHEMA
    )
    now = catalogue(row("a"), row("b", image="a", version=""))
    joined = join(now, None, rejected=rejected)
    assert [(reject.id, reject.reason) for reject in joined.rejects] == [("a", "damaged")]
    assert joined.products["id"].to_pylist() == ["b"]
    changed = join(catalogue(row("a", version="2")), None, rejected=rejected)
    assert changed.rejects == []


@pytest.mark.parametrize("previous", [None, published()])
def test_a_first_run(previous: pa.Table | None) -> None:
    joined = join(catalogue(row("a"), row("b")), previous)
    assert changes(read(joined).products).tolist() == [ADDED, ADDED]
    assert joined.gone.num_rows == 0
