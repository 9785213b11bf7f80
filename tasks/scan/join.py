"""Join a catalogue with the published snapshot: what came, went or changed, and which pictures must be read to tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.reader import VERSION
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.embeddings import HASH

NOWHERE = -1
ROWS_IN_A_SHARD = 2**40  # a place is a shard's number times this, plus the row in it

SAME, ADDED, PICTURE, TEXT = range(4)

Version: TypeAlias = tuple[str, str, str]  # a product's id, and its picture's reference and version

_Fact: TypeAlias = tuple[str, str]  # a picture's reference and version


@dataclass(frozen=True)
class Joined:
    """Some products of a catalogue, beside what is known of them.

    Attributes:
        products: with the columns `image_hash` (null where the picture must be read), `place` (where the published
            snapshot has the product, NOWHERE where it has not), `old_hash` (of its picture there), `old_version`
            (null where it has another reference there, empty where it has no version) and `text_moved` (whether
            anything but the picture differs).
        rejects: those whose id was there already, and those that the last run rejected and that did not move since.
        gone: `id` and `place` of the products that the published snapshot has and this catalogue has not.
    """

    products: pa.Table
    rejects: list[Reject]
    gone: pa.Table


def join(
    products: pa.Table,
    previous: pa.Table | None,
    known: Iterable[pa.Table] = (),
    rejected: pa.Table | None = None,
    *,
    trust: bool = True,
) -> Joined:
    """Put products beside those of the published snapshot with the same ids.

    Args:
        products: in the normal form of catalogues.
        previous: the same columns, and `image_hash` and `place`; of the same bucket of ids.
        known: tables with `image`, `image_version` and `image_hash` of pictures that were read before.
        rejected: what the last run could not use, as `lookalike.data.catalogue.rejects` stores it.
        trust: whether a picture whose version did not move is taken for the one it was.
    """
    if previous is None or not previous.num_rows or not trust:
        facts = [*known, *([] if previous is None else [previous])] if trust else []
        return _join_each(products, previous, facts, rejected, gone=_gone(previous, products))
    same, there = _find_untouched(products, previous, rejected)
    rest = products.filter(pc.invert(same))
    of_rest = previous.filter(_is_in(previous["id"], rest["id"]))
    facts = [table.filter(_is_in(table["image"], rest["image"])) for table in (*known, previous)]
    joined = _join_each(rest, of_rest, facts, rejected, gone=_gone(previous, products))
    untouched = _with_findings(
        products.filter(same),
        image_hash=there["image_hash"],
        place=there["place"],
        old_hash=there["image_hash"],
        old_version=there[VERSION],
        text_moved=pa.array(np.zeros(there.num_rows, bool)),
    )
    return Joined(pa.concat_tables([untouched, joined.products]), joined.rejects, joined.gone)


def _find_untouched(
    products: pa.Table, previous: pa.Table, rejected: pa.Table | None
) -> tuple[pa.ChunkedArray, pa.Table]:
    """Return a mask of the products that are surely as they were, and their rows of the published snapshot.

    Looking at columns takes a tenth of the time of looking at each product, and most products are the same most nights.
    """
    if pc.count_distinct(products["id"]).as_py() < products.num_rows:  # the first one counts: look at each
        return pa.chunked_array([np.zeros(products.num_rows, bool)]), previous.slice(0, 0)
    places = pc.index_in(products["id"], value_set=previous["id"].combine_chunks())
    there = previous.take(places.fill_null(0))
    same = places.is_valid()
    for name in ("image", VERSION, "title"):
        same = pc.and_(same, pc.equal(products[name], there[name]).fill_null(False))
    same = pc.and_(same, pc.not_equal(products[VERSION], "").fill_null(False))
    same = pc.and_(same, _same_attributes(products, there))
    if rejected is not None:
        same = pc.and_(same, pc.invert(_is_in(products["id"], rejected["id"])))
    return same, there.filter(same)


def _same_attributes(products: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """Return a mask of the rows whose attributes are surely equal; what has no simple comparison is not."""
    have = ["attributes" in table.column_names for table in (products, others)]
    if not all(have):
        return pa.chunked_array([np.full(products.num_rows, not any(have))])
    one, other = (table["attributes"].combine_chunks() for table in (products, others))
    if one.type != other.type:
        return pa.chunked_array([np.zeros(products.num_rows, bool)])
    same = pc.and_(one.is_valid(), other.is_valid())
    for field in one.type:
        mine, theirs = pc.struct_field(one, field.name), pc.struct_field(other, field.name)
        if pa.types.is_nested(field.type):
            equal = pa.array([a == b for a, b in zip(mine.to_pylist(), theirs.to_pylist(), strict=True)], pa.bool_())
        else:
            both_null = pc.and_(mine.is_null(), theirs.is_null())
            equal = pc.or_(pc.equal(mine, theirs).fill_null(False), both_null)
        same = pc.and_(same, equal)
    return pa.chunked_array([same])


def _join_each(
    products: pa.Table,
    previous: pa.Table | None,
    known: Iterable[pa.Table],
    rejected: pa.Table | None,
    *,
    gone: pa.Table,
) -> Joined:
    before, facts, hopeless = _Before(previous), find_facts(known), find_hopeless(rejected)
    keep: list[int] = []
    rejects: list[Reject] = []
    found: list[tuple[bytes | None, int, bytes | None, str | None, bool]] = []
    seen: set[str] = set()
    texts = list_texts(products)
    columns = (products[name].to_pylist() for name in ("id", "image", VERSION))
    for row, (product, image, version) in enumerate(zip(*columns, strict=True)):
        if product in seen:
            message = f"an earlier row has the id {product!r} already; the first one is used"
            rejects.append(Reject(product, image, "scan", "duplicate_id", message))
            continue
        seen.add(product)
        if again := hopeless.get((product, image, version)):
            rejects.append(again)
            continue
        keep.append(row)
        old = before.rows.get(product)
        image_hash = facts.get((image, version))
        if old is None:
            found.append((image_hash, NOWHERE, None, None, False))
        else:
            elsewhere = image != before.images[old]
            old_version = None if elsewhere else before.versions[old] or ""
            moved = elsewhere or differ(texts[row], before.texts[old])
            found.append((image_hash, before.places[old], before.hashes[old], old_version, moved))
    kept = products if len(keep) == products.num_rows else products.take(pa.array(keep, pa.int64()))
    hashes, places, old_hashes, old_versions, moved_texts = zip(*found, strict=True) if found else ((),) * 5
    findings = _with_findings(
        kept,
        image_hash=pa.array(hashes, HASH),
        place=pa.array(places, pa.int64()),
        old_hash=pa.array(old_hashes, HASH),
        old_version=pa.array(old_versions, pa.string()),
        text_moved=pa.array(moved_texts, pa.bool_()),
    )
    return Joined(findings, rejects, gone)


def with_hashes(products: pa.Table, hashes: Sequence[bytes | None]) -> pa.Table:
    """Return the products with the column `image_hash` set."""
    return products.set_column(products.schema.get_field_index("image_hash"), "image_hash", pa.array(hashes, HASH))


def as_published(products: pa.Table, unseen: Sequence[bool]) -> tuple[pa.Table, int]:
    """Return the products with the picture that the published snapshot has where it cannot be seen, and how many."""
    old = products["old_version"]
    stay = pc.and_(pa.array(unseen, pa.bool_()), old.is_valid())
    versions = pc.if_else(pc.equal(old, ""), pa.scalar(None, pa.string()), old)
    for name, published in (("image_hash", products["old_hash"]), (VERSION, versions)):
        place = products.schema.get_field_index(name)
        products = products.set_column(place, name, pc.if_else(stay, published, products[name]))
    return products, pc.sum(stay).as_py() or 0


def changes(products: pa.Table) -> NDArray[np.uint8]:
    """Return for each product SAME, ADDED, PICTURE or TEXT: what changed since the published snapshot."""
    added = np.asarray(products["place"]) == NOWHERE
    moved = np.asarray(pc.not_equal(products["image_hash"], products["old_hash"]).fill_null(True))
    text = np.asarray(products["text_moved"])
    return np.select([added, moved, text], [ADDED, PICTURE, TEXT], SAME).astype(np.uint8)


def versions(products: pa.Table, *, among: pa.Table) -> set[Version]:
    """Return which pictures the products show whose ids are among those of another table."""
    return set(version_rows(products.filter(_is_in(products["id"], among["id"]))))


def version_rows(products: pa.Table) -> Iterator[Version]:
    """Yield which picture each product shows."""
    return zip(*(products[name].to_pylist() for name in ("id", "image", VERSION)), strict=True)


def published_places(products: pa.Table) -> pa.Table:
    """Return `id` and `place` of the products that the published snapshot has."""
    return products.filter(pc.not_equal(products["place"], NOWHERE)).select(["id", "place"])


def without_findings(products: pa.Table) -> pa.Table:
    """Return the products as a normalised catalogue holds them."""
    return products.drop_columns(["place", "old_hash", "old_version", "text_moved"])


class _Before:
    """The products of the published snapshot, by id."""

    def __init__(self, table: pa.Table | None) -> None:
        self._table = table
        self.rows = {product: row for row, product in enumerate(self._column("id"))}
        self.images: list[str] = self._column("image")
        self.versions: list[str | None] = self._column(VERSION)
        self.hashes: list[bytes] = self._column("image_hash")
        self.places: list[int] = self._column("place")
        self.texts = [] if table is None else list_texts(table)

    def _column(self, name: str) -> list[Any]:
        return [] if self._table is None else self._table[name].to_pylist()


def list_texts(table: pa.Table) -> list[tuple[str, dict[str, Any]]]:
    """Return the title and the attributes of each product."""
    titles = table["title"].to_pylist()
    if "attributes" not in table.column_names:
        return [(title, {}) for title in titles]
    return list(zip(titles, (value or {} for value in table["attributes"].to_pylist()), strict=True))


def differ(one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> bool:
    """Tell whether two titles with their attributes say different things."""
    if one == other and not (_may_be_truths(one) or _may_be_truths(other)):
        return False
    return _canonical(one) != _canonical(other)


def _may_be_truths(text: tuple[str, dict[str, Any]]) -> bool:
    """To Python, True is 1."""
    return any(isinstance(value, bool | list) for value in text[1].values())


def _canonical(text: tuple[str, dict[str, Any]]) -> tuple[str, list[tuple[str, str]]]:
    """An attribute without a value is none, their order says nothing, and NaN, as text, is like itself."""
    title, attributes = text
    return title, sorted((name, _as_text(value)) for name, value in attributes.items() if value is not None)


def _as_text(value: Any) -> str:
    """A whole number is the same as an integer and as a float."""
    if isinstance(value, list):
        return repr([_as_text(item) for item in value])
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


def find_facts(tables: Iterable[pa.Table]) -> dict[_Fact, bytes]:
    """Return the hashes of pictures by their reference and version, where they have one."""
    facts: dict[_Fact, bytes] = {}
    for table in tables:
        columns = (table[name].to_pylist() for name in ("image", VERSION, "image_hash"))
        facts.update(((image, version), found) for image, version, found in zip(*columns, strict=True) if version)
    return facts


def find_hopeless(rejected: pa.Table | None) -> dict[tuple[str, str, str], Reject]:
    """Return what cannot be used, while its picture stays as it is: by id, reference and version."""
    if rejected is None:
        return {}
    rejects = (Reject(**row) for row in rejected.to_pylist())
    return {(reject.id, reject.reference, reject.version): reject for reject in rejects if reject.version}


def _with_findings(products: pa.Table, **columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    for name, column in columns.items():
        products = products.append_column(name, column)
    return products


def _gone(previous: pa.Table | None, products: pa.Table) -> pa.Table:
    """Return the id and place of those that are not among the products."""
    if previous is None:
        return pa.table({"id": pa.array([], pa.string()), "place": pa.array([], pa.int64())})
    return previous.filter(pc.invert(_is_in(previous["id"], products["id"]))).select(["id", "place"])


def _is_in(values: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(values, value_set=among.combine_chunks())
