"""The share of neighbours of the same category."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import categories
from tests.support.pictures import drawing


def test_neighbours_are_others_and_counted_by_category() -> None:
    random = np.random.default_rng(2)
    centres = np.repeat(np.eye(2, 8, dtype=np.float32), 20, axis=0)
    placed = centres + 0.01 * random.standard_normal((40, 8), np.float32)
    names = np.repeat(["shoe", "hat"], 20)
    assert categories.compute_share(placed, names) == 1.0
    assert categories.compute_share(placed, np.tile(["shoe", "hat"], 20)) == pytest.approx(9 / 19, abs=0.1)


def test_each_space_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["id,image,category"]
    for seed in range(14):
        drawing(seed).save(tmp_path / f"{seed}.png")
        rows.append(f"{seed},{seed}.png,{'shoe' if seed % 2 else 'hat'}")
    (tmp_path / "products.csv").write_text("\n".join(rows))
    (tmp_path / "cache").mkdir()
    arguments = ["--encoder", "fake", "--whiten", "32", "--learn", "10", "--cache", str(tmp_path / "cache")]

    categories.main([str(tmp_path / "products.csv"), *arguments])

    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in printed[2:]] == ["| as they are", "| whitened", "| learnt"]
