from __future__ import annotations

from tests.benchmarks.decoders import table


def test_a_cell_has_all_ways_of_its_library() -> None:
    figures = {"ms": {"a photo": {"Pillow": 2.5, "Pillow, in one block": 2.4}, "smaller": {"OpenCV, area": 1.71}}}
    assert table(figures).splitlines()[2:] == [
        "| a photo | 2.5; 2.4, in one block | |",
        "| smaller | | 1.7, area |",
    ]
