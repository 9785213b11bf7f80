"""Part of a folder stands for all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks import embedded, embedding
from tests.benchmarks.picking import evenly
from tests.support.pictures import write_catalogue


@pytest.mark.parametrize(
    ("most", "wanted"),
    [(0, []), (1, [0]), (2, [0, 3]), (4, [0, 1, 3, 5]), (6, [0, 1, 2, 3, 4, 5]), (7, [*range(7)]), (9, [*range(7)])],
)
def test_evenly(most: int, wanted: list[int]) -> None:
    assert evenly(range(7), most) == wanted


def of_quality(folder: Path) -> list[Path]:
    return list(embedded.Pictures.below(folder, 6).files.values())


def of_embedding(folder: Path) -> list[Path]:
    return next(files for _, files in embedding.collections(folder, folder, 6))


@pytest.mark.parametrize("picked", [of_quality, of_embedding])
def test_more_than_half_of_a_folder_still_reaches_its_end(picked: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    write_catalogue(tmp_path, 9)  # three in each of three folders

    folders = [path.parent.name for path in picked(tmp_path)]

    assert folders == ["bags", "bags", "hats", "hats", "shoes", "shoes"]
