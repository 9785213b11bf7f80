"""The gate: a snapshot goes out only where it reaches every limit, and each limit that it misses has its sentence."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.gate import Limits, find_reasons_not_to_publish
from tests.support.snapshots import draft, with_image_space


def manifest(products: int, recall: float = 0.99) -> Manifest:
    """Return a draft with so many products, a shard each."""
    made = draft(MemoryStore(), list(range(products)))
    return made.model_copy(update={"quality": {"recall_at_10": recall}})


def searched_by_text(recall: float) -> Manifest:
    made = manifest(4)
    return made.model_copy(update={"quality": {**made.quality, "tower_recall_at_10": recall}})


def with_encoder(name: str, fingerprint: str) -> Manifest:
    made = manifest(4)
    return with_image_space(made, encoder=made.encoder.model_copy(update={"name": name, "fingerprint": fingerprint}))


def reasons(limits: Limits | None = None, **facts: Any) -> list[str]:
    usual: dict[str, Any] = {"manifest": manifest(4), "parent": manifest(4), "rejected": 0, "removed": 0}
    return find_reasons_not_to_publish(limits or Limits(), **(usual | facts))


def test_a_snapshot_like_the_one_before_goes_out() -> None:
    assert reasons() == []
    assert reasons(parent=None) == []


@pytest.mark.parametrize(
    ("facts", "limits", "reason"),
    [
        ({"manifest": manifest(4, 0.949)}, Limits(), "recall@10 is 0.949, the limit is 0.95"),
        ({"manifest": searched_by_text(0.94)}, Limits(), "recall@10 of pictures for texts is 0.940, the limit is 0.95"),
        ({"rejected": 2}, Limits(), "33% of the catalogue cannot be used, the limit is 20%"),
        ({"removed": 3}, Limits(), "75% of the last snapshot's products are gone, the limit is 50%"),
        ({"manifest": manifest(8)}, Limits(max_growth=1.5), "there are 2.0 times as many products as before"),
        ({}, Limits(max_bytes=1000), "bytes, the limit is 1,000"),
        (
            {"manifest": with_encoder("other", "f2")},
            Limits(),
            "the encoder is other, and that of the last snapshot is e:",
        ),
        ({"overlap": 0.4}, Limits(), "40% of the first hits are those of the last snapshot, the limit is 50%"),
    ],
)
def test_each_limit_has_its_sentence(facts: dict[str, Any], limits: Limits, reason: str) -> None:
    (found,) = reasons(limits, **facts)
    assert reason in found


@pytest.mark.parametrize(
    ("facts", "limits"),
    [
        ({"manifest": manifest(4, 0.95)}, Limits()),
        ({"rejected": 1}, Limits()),
        ({"removed": 2}, Limits()),
        ({"manifest": manifest(8)}, Limits(max_growth=2.0)),
        ({"manifest": with_encoder("other", "f2")}, Limits(new_encoder=True)),
        ({"manifest": with_encoder("moved", "f1")}, Limits()),
        ({"manifest": with_encoder("e", "f2")}, Limits()),
        ({"overlap": 0.5}, Limits()),
        ({"overlap": None}, Limits(min_overlap=1.0)),
    ],
)
def test_a_limit_that_is_just_reached_is_reached(facts: dict[str, Any], limits: Limits) -> None:
    assert reasons(limits, **facts) == []


def test_a_first_snapshot_has_nothing_to_vanish_from_or_to_grow_from() -> None:
    assert reasons(parent=None, removed=100) == []


def test_all_that_is_wrong_is_said() -> None:
    assert len(reasons(manifest=manifest(4, 0.1), rejected=10, removed=4, overlap=0.0)) == 4
