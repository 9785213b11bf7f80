"""Groups of rows that show the same, against plain Python."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.embeddings import HASH
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.duplicates import Duplicates, Groups, read_groups, to_parquet, write_groups
from lookalike.data.snapshots.mapped.arrays import Arrays
from lookalike.data.snapshots.products import Products


def hash_of(number: int) -> bytes:
    return bytes([number]) * 32


def show(shown: list[int]) -> Products:
    """Return products that show some pictures, the first half and the second each in a shard."""
    table = pa.table({"id": [str(row) for row in range(len(shown))], "image_hash": pa.array(map(hash_of, shown), HASH)})
    half = len(shown) // 2
    return Products.of(table.slice(0, half), table.slice(half))


def duplicates(folder: Path, shown: list[int], groups: list[list[int]] | None) -> Duplicates:
    """Return the duplicates among rows that show some pictures."""
    if groups is None:
        return Duplicates.of(show(shown), None)
    pictures = [hash_of(number) for group in groups for number in group]
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    (folder / "groups.parquet").write_bytes(to_parquet(pictures, numbers))
    write_groups(folder / "groups.parquet", folder / "groups")
    return Duplicates.of(show(shown), Arrays.map(folder / "groups"))


def sets(groups: Groups, shown: list[int]) -> set[frozenset[int]]:
    return {frozenset(groups.members(row).tolist()) for row in range(len(shown))}


def test_rows_of_one_picture_and_of_near_duplicates(tmp_path: Path) -> None:
    shown = [7, 3, 7, 5, 4, 3]
    found = duplicates(tmp_path, shown, [[3, 5], [4, 9]])  # 9 left with a refresh
    assert sets(found.exact, shown) == {frozenset({0, 2}), frozenset({1, 5}), frozenset({3}), frozenset({4})}
    assert sets(found.near, shown) == {frozenset({0, 2}), frozenset({1, 3, 5}), frozenset({4})}
    assert found.of_kind("exact") is found.exact
    assert found.of_kind("near") is found.near


def test_without_groups_near_is_exact(tmp_path: Path) -> None:
    shown = [1, 2, 1]
    found = duplicates(tmp_path, shown, None)
    assert sets(found.near, shown) == sets(found.exact, shown) == {frozenset({0, 2}), frozenset({1})}


def test_what_a_row_hides(tmp_path: Path) -> None:
    groups = duplicates(tmp_path, [1, 1, 1, 2, 1], None).exact
    assert groups.hidden(0, None) == 3
    assert groups.hidden(0, np.array([True, False, True, True, True])) == 2
    assert groups.hidden(0, None, {4, 3}) == 2
    assert groups.hidden(3, None) == 0


@pytest.mark.parametrize("seed", range(20))
def test_any_groups_against_a_reading_row_by_row(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    shown = [random.randrange(30) for _ in range(random.randrange(1, 80))]
    pictures = random.sample(range(30), 12)
    groups = [pictures[:5], pictures[5:7], pictures[7:]]
    found = duplicates(tmp_path, shown, groups)
    of = {number: f"group {place}" for place, group in enumerate(groups) for number in group}
    for kind, name in ((found.exact, str), (found.near, lambda number: of.get(number, str(number)))):
        expected = {
            frozenset(row for row, other in enumerate(shown) if name(other) == name(number)) for number in shown
        }
        assert sets(kind, shown) == expected
        rows = np.arange(len(shown))
        assert len(set(kind.keys(rows))) == len(expected)
        assert all(len(set(kind.keys(np.array(sorted(group))))) == 1 for group in expected)


def test_damaged_groups_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "groups.parquet"
    good = to_parquet([hash_of(1), hash_of(2)], np.array([0, 0]))
    for table in (
        pa.table({"image_hash": pa.array([hash_of(1)], HASH)}),
        pa.table({"image_hash": pa.array([hash_of(1)], HASH), "group": pa.array([-1], pa.int32())}),
        pa.table({"image_hash": pa.array([None], HASH), "group": pa.array([0], pa.int32())}),
        pa.table({"image_hash": ["x"], "group": pa.array([0], pa.int32())}),
    ):
        pq.write_table(table, file)
        with pytest.raises(CorruptError, match="near-duplicates"):
            read_groups(file)
    file.write_bytes(good[:-5])
    with pytest.raises(CorruptError, match="cannot be read"):
        read_groups(file)
