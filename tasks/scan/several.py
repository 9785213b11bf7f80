"""Products with several pictures: each picture is a row while it is looked for, and the product is put together again.

Products with one picture, and without others in the published snapshot, never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.pictures import FURTHER
from lookalike.data.catalogue.reader import VERSION, Batch
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.embeddings import HASH, hash_array, positions
from lookalike.data.partitioned import BUCKETS, PartitionedTable, hash_buckets, id_buckets
from lookalike.data.snapshots.products import VIEWS, VIEWS_FIELD
from lookalike.tasks.scan import join
from lookalike.tasks.scan.join import NOWHERE, SAME

PLACE_IN_LIST = "number"
"""The column of a picture's place in its product's list, from 1."""
ENTRY = "entry"
"""The column of the number of a product in its catalogue: of products with one id the first one counts."""
OLD_PICTURES = "old_pictures"
"""The column of the hashes of all pictures that the published snapshot has of a product, one after another."""


class SeveralPictures:
    """The pictures of products with several, by range of their hashes, and the products as far as they are known.

    Attributes:
        rows: a row for each picture that has a hash, with the columns of `join.Joined` and the three of this module.
        products: `id` and `place` of all these products.
        listed: how many products these are.
        rejected: how many of their pictures cannot be used.
    """

    def __init__(self, new_table: Callable[[str], PartitionedTable]) -> None:
        """Begin with no products; `new_table` makes an empty partitioned table."""
        self.new_table = new_table
        self.rows = new_table("pictures")
        self.products: list[pa.Table] = []
        self.listed = 0
        self.rejected = 0

    def take(self, rows: pa.Table) -> None:
        """Take up pictures that have a hash."""
        if rows.num_rows:
            self.rows.add(rows, hash_buckets(positions(hash_array(rows["image_hash"]))))


def split(batch: Batch, first_entry: int) -> tuple[Batch, Batch | None]:
    """Return the products with one picture, and a row for each picture of the others; None without such.

    Args:
        first_entry: the number of the batch's first product in the catalogue.
    """
    products = batch.products
    if FURTHER not in products.column_names:
        return batch, None
    further = products[FURTHER].combine_chunks()
    singles = products.drop_columns([FURTHER])
    has_more = pc.greater(pc.list_value_length(further).fill_null(0), 0)
    rows = np.flatnonzero(np.asarray(has_more))
    lists = [[products["image"][row].as_py(), *further[row].as_py()] for row in rows.tolist()]
    counts = [len(one) for one in lists]
    exploded = singles.take(pa.array(np.repeat(rows, counts)))
    place = exploded.schema.get_field_index("image")
    exploded = exploded.set_column(place, "image", pa.array([one for some in lists for one in some], pa.string()))
    numbers = [number for count in counts for number in range(1, count + 1)]
    exploded = _mark(exploded, numbers, np.repeat(rows, counts) + first_entry)
    return Batch(singles.filter(pc.invert(has_more)), batch.rejects), Batch(exploded, [])


def mark_single(products: pa.Table) -> pa.Table:
    """Return products with one picture as rows of pictures: the published snapshot has several of them."""
    return _mark(products, [1] * products.num_rows, np.arange(products.num_rows) - products.num_rows)


def _mark(rows: pa.Table, numbers: Sequence[int], entries: np.ndarray[Any, Any]) -> pa.Table:
    rows = rows.append_column(PLACE_IN_LIST, pa.array(numbers, pa.uint16()))
    return rows.append_column(ENTRY, pa.array(entries, pa.int64()))


def find_published(previous: pa.Table | None) -> set[str]:
    """Return the ids of products of which the published snapshot has several pictures."""
    if previous is None or VIEWS not in previous.column_names:
        return set()
    has_more = pc.greater(pc.list_value_length(previous[VIEWS]).fill_null(0), 0)
    return set(previous["id"].filter(has_more).to_pylist())


def join_pictures(
    rows: pa.Table,
    previous: pa.Table | None,
    known: Iterable[pa.Table],
    rejected: pa.Table | None,
    others: Iterable[str],
    *,
    trust: bool = True,
) -> tuple[pa.Table, list[Reject], list[Reject]]:
    """Put pictures beside those that the published snapshot has of the same products.

    Args:
        rows: of pictures; of one bucket of ids.
        previous: the products of the published snapshot in this bucket.
        known: tables with `image`, `image_version` and `image_hash` of pictures that were read before.
        rejected: what the last run could not use.
        others: ids of products with one picture: where there are two of an id, these count.
        trust: whether a picture whose version did not move is taken for the one it was.

    Returns:
        The pictures with the columns of `join.Joined` and OLD_PICTURES, products that are no products, and pictures
        that the last run rejected and that did not move since.
    """
    before = _Before(previous)
    facts = join.find_facts([*known, *before.tables]) if trust else {}
    hopeless = join.find_hopeless(rejected if trust else None)
    first_entries = _find_first_entries(rows, set(others))
    keep: list[int] = []
    found: list[tuple[Any, ...]] = []
    duplicates: list[Reject] = []
    lost: list[Reject] = []
    texts = join.list_texts(rows)
    columns = (rows[name].to_pylist() for name in ("id", "image", VERSION, ENTRY, PLACE_IN_LIST))
    for row, (product, image, version, entry, number) in enumerate(zip(*columns, strict=True)):
        if first_entries.get(product) != entry:
            if number == 1:
                message = f"another row has the id {product!r} already; the first one is used"
                duplicates.append(Reject(product, image, "scan", "duplicate_id", message))
            continue
        if again := hopeless.get((product, image, version)):
            lost.append(again)
            continue
        keep.append(row)
        old = before.products.get(product)
        image_hash = facts.get((image, version))
        if old is None:
            found.append((image_hash, NOWHERE, None, None, False, b""))
            continue
        old_hash, old_version = old.pictures.get(image, (None, None))
        moved = image not in old.pictures or join.differ(texts[row], old.text)
        found.append((image_hash, old.place, old_hash, old_version, moved, old.hashes))
    names = ("image_hash", "place", "old_hash", "old_version", "text_moved", OLD_PICTURES)
    kinds = (HASH, pa.int64(), HASH, pa.string(), pa.bool_(), pa.binary())
    joined = rows.take(pa.array(keep, pa.int64()))
    values = zip(*found, strict=True) if found else ((),) * len(names)
    for name, kind, column in zip(names, kinds, values, strict=True):
        joined = joined.append_column(name, pa.array(column, kind))
    return joined, duplicates, lost


def list_products(rows: pa.Table) -> pa.Table:
    """Return `id` and `place` of the products whose pictures these are, each once."""
    return rows.select(["id", "place"]).group_by(["id", "place"]).aggregate([])


def assemble(
    pictures: PartitionedTable, new_table: Callable[[str], PartitionedTable], *, only_changes: bool
) -> tuple[PartitionedTable, set[str], int]:
    """Put products together of their pictures, which come by bucket of ids.

    Returns:
        The products by range of the hash of their first picture, with VIEWS; the ids of all that have a picture, also
        of those that are left out because they did not change; and how many pictures are the same as another one of
        their product.
    """
    made, there, repeated = new_table("several"), set[str](), 0
    for bucket in range(BUCKETS):
        rows = pictures.read(bucket)
        if rows is None:
            continue
        products, again = _assemble_some(rows.sort_by([("id", "ascending"), (PLACE_IN_LIST, "ascending")]))
        repeated += again
        there.update(products["id"].to_pylist())
        if only_changes:
            products = products.filter(pa.array(join.changes(products) != SAME))
        if products.num_rows:
            made.add(products, hash_buckets(positions(hash_array(products["image_hash"]))))
    return made, there, repeated


def scatter_by_id(pictures: Iterator[pa.Table], table: PartitionedTable) -> PartitionedTable:
    """Fill a table with pictures by the ids of their products; return it."""
    for rows in pictures:
        table.add(rows, id_buckets(rows["id"].to_pylist()))
    return table


def _assemble_some(rows: pa.Table) -> tuple[pa.Table, int]:
    names = ("image", VERSION, "image_hash", "text_moved", OLD_PICTURES)
    columns = dict(zip(names, (rows[name].to_pylist() for name in names), strict=True))
    hashes = columns["image_hash"]
    first: list[int] = []
    views: list[list[dict[str, Any]]] = []
    old_hashes: list[bytes | None] = []
    moved: list[bool] = []
    repeated = 0
    for _, group in groupby(enumerate(rows["id"].to_pylist()), key=lambda one: one[1]):
        places = [place for place, _ in group]
        shown = list({hashes[place]: place for place in reversed(places)}.values())[::-1]
        repeated += len(places) - len(shown)
        first.append(shown[0])
        views.append([{name: columns[name][place] for name in ("image", VERSION, "image_hash")} for place in shown[1:]])
        is_same = b"".join(hashes[place] for place in shown) == columns[OLD_PICTURES][places[0]]
        old_hashes.append(hashes[shown[0]] if is_same else None)
        moved.append(any(columns["text_moved"][place] for place in shown))
    products = rows.take(pa.array(first, pa.int64())).drop_columns([PLACE_IN_LIST, ENTRY, OLD_PICTURES])
    for name, values, kind in (("old_hash", old_hashes, HASH), ("text_moved", moved, pa.bool_())):
        products = products.set_column(products.schema.get_field_index(name), name, pa.array(values, kind))
    return products.append_column(VIEWS_FIELD, pa.array(views, VIEWS_FIELD.type)), repeated


@dataclass(frozen=True, slots=True)
class _Published:
    """A product as the published snapshot has it: hash and version of each picture by reference, and all hashes."""

    place: int
    text: tuple[str, dict[str, Any]]
    pictures: dict[str, tuple[bytes, str]]
    hashes: bytes


class _Before:
    """The products of the published snapshot by id, and their pictures as tables of what is known."""

    def __init__(self, table: pa.Table | None) -> None:
        self.products: dict[str, _Published] = {}
        self.tables: list[pa.Table] = []
        if table is None:
            return
        columns = (table[name].to_pylist() for name in ("id", "place", "image", VERSION, "image_hash"))
        views = table[VIEWS].to_pylist() if VIEWS in table.column_names else [None] * table.num_rows
        for row, view, text in zip(zip(*columns, strict=True), views, join.list_texts(table), strict=True):
            product, place, *first = row
            every = [tuple(first), *((one["image"], one[VERSION], one["image_hash"]) for one in view or ())]
            pictures = {image: (image_hash, version or "") for image, version, image_hash in every}
            self.products[product] = _Published(place, text, pictures, b"".join(one[2] for one in every))
        names = ("image", VERSION, "image_hash")
        every = [(image, *facts) for one in self.products.values() for image, facts in one.pictures.items()]
        columns_of_all = zip(*((image, version, known) for image, known, version in every), strict=True)
        self.tables = [pa.table(dict(zip(names, map(list, columns_of_all), strict=False)))] if every else []


def _find_first_entries(rows: pa.Table, others: set[str]) -> dict[str, int]:
    first: dict[str, int] = {}
    for product, entry in zip(rows["id"].to_pylist(), rows[ENTRY].to_pylist(), strict=True):
        if product not in others:
            first[product] = min(entry, first.get(product, entry))
    return first
