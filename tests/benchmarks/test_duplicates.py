from __future__ import annotations

from tests.benchmarks.duplicates import COPIES, SHOWN_DISTORTIONS, threshold_table


def test_a_space_is_shown_where_its_precision_is_nearest_to_nine_tenths() -> None:
    recall = dict.fromkeys([*COPIES, *SHOWN_DISTORTIONS], 0.5)
    lines = [
        {"threshold": score, "recall": recall, "recall_of_all_copies": 0.5, "precision": precision, "pairs": 3}
        for score, precision in ((0.8, 0.7), (0.87, 0.91), (0.95, 1.0))
    ]
    (row,) = threshold_table({"spaces": {"learnt, 256": lines}}).splitlines()[2:]
    assert row.startswith("| learnt, 256 | 0.87 | 0.500 |")
