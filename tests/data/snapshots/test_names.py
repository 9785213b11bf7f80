"""Names of snapshots as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lookalike.data.errors import InputError, SnapshotNotFoundError
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.names import find_snapshot
from lookalike.data.snapshots.publishing import publish
from lookalike.data.stores.memory import MemoryStore
from tests.support.snapshots import draft

FIRST = datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.fixture
def channel() -> Channel:
    return Channel(MemoryStore())


def publish_some(channel: Channel, count: int) -> list[str]:
    drafts = [draft(channel.store, [number], created_at=FIRST + timedelta(days=number)) for number in range(count)]
    return [publish(channel, made, after=channel.latest(), reason="test").snapshot for made in drafts]


def test_a_snapshot_has_four_names(channel: Channel) -> None:
    first, second = publish_some(channel, 2)
    assert find_snapshot(channel) == find_snapshot(channel, "current") == second
    assert find_snapshot(channel, "previous") == first
    assert find_snapshot(channel, first) == first
    different = next(place for place in range(len(first)) if first[place] != second[place])
    assert find_snapshot(channel, first[: different + 1]) == first


def test_letters_of_several_snapshots_name_none(channel: Channel) -> None:
    first, second = publish_some(channel, 2)
    with pytest.raises(InputError, match=f"2 snapshots begin with '{first[:6]}': {first}, {second}"):
        find_snapshot(channel, first[:6])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("20990101T000000Z-0a1b2c3d", "the store has no snapshot 20990101T000000Z-0a1b2c3d"),
        ("nonsense", "'nonsense' is no snapshot id"),
        ("2", "'2' is no snapshot id"),
        ("previous", "channel 'current' has had one snapshot only"),
    ],
)
def test_what_names_none(channel: Channel, name: str, says: str) -> None:
    publish_some(channel, 1)
    with pytest.raises(SnapshotNotFoundError, match=says):
        find_snapshot(channel, name)


def test_an_empty_channel_says_what_publishes(channel: Channel) -> None:
    with pytest.raises(SnapshotNotFoundError, match="publishes a first snapshot"):
        find_snapshot(channel)
