"""What a run starts from, without Prefect."""

from __future__ import annotations

from pathlib import Path

from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.publishing import promote, store_snapshot
from lookalike.data.stores.local import LocalStore
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.published import Published, read_published
from tests.support.snapshots import draft

BEFORE = Path(__file__).parents[1] / "data" / "formats" / "before-1" / "store"


def test_an_empty_channel_gives_nothing_to_build_upon() -> None:
    assert read_published(Channel(MemoryStore())) == Published()


def test_a_channel_that_is_held_says_by_whom_and_what_lets_it_go() -> None:
    store = MemoryStore()
    channel = Channel(store)
    manifest = store_snapshot(store, draft(store, [1]))
    promote(channel, manifest.id, reason="first")
    assert read_published(channel).why_held() == ""
    promote(channel, manifest.id, reason="hats look like shoes", actor="ann", hold=True)
    held = read_published(channel).why_held()
    assert held.startswith(f"channel 'current' is held at {manifest.id}, by ann since ")
    assert "(hats look like shoes)" in held
    assert f"`lookalike snapshots promote {manifest.id}`" in held


def test_who_is_owed_the_pictures_outlives_the_format_of_a_snapshot() -> None:
    found = read_published(Channel(LocalStore(BEFORE)))
    assert (found.manifest, found.entry is not None) == (None, True)
    assert found.attribution == "Pictures by <i>Pillow</i>"
    assert "run `lookalike reindex`" in found.problem
