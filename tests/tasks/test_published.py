"""What a run starts from, without Prefect."""

from __future__ import annotations

from pathlib import Path

from lookalike.data.snapshots.channels import Channel
from lookalike.data.stores.local import LocalStore
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.published import Published, read_published

BEFORE = Path(__file__).parents[1] / "data" / "formats" / "before-1" / "store"


def test_an_empty_channel_gives_nothing_to_build_upon() -> None:
    assert read_published(Channel(MemoryStore())) == Published()


def test_who_is_owed_the_pictures_outlives_the_format_of_a_snapshot() -> None:
    found = read_published(Channel(LocalStore(BEFORE)))
    assert (found.manifest, found.entry is not None) == (None, True)
    assert found.attribution == "Pictures by <i>Pillow</i>"
    assert "run `lookalike reindex`" in found.problem
