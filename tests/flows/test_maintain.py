"""Maintenance and rollback, run as flows on a real Prefect server, over a store in a folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.blocks.webhook import Webhook
from prefect.exceptions import ParameterTypeError

from lookalike.data.errors import (
    CollectionRefusedError,
    CorruptError,
    InputError,
    SnapshotNotFoundError,
    SnapshotRefusedError,
)
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.publishing import publish, store_snapshot
from lookalike.data.snapshots.store import list_snapshots, read_manifest
from lookalike.data.stores import ObjectStore, open_store
from lookalike.flows.maintain import maintain
from lookalike.flows.reporting.maintenance import Maintenance
from lookalike.flows.rollback import rollback
from tests.support.receiver import receiver
from tests.support.servers import as_prefect_client
from tests.support.snapshots import draft

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def server(prefect_api: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    with as_prefect_client(prefect_api):
        yield prefect_api


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A store that the settings name, with three releases of `current` and one of `canary`, an hour old."""
    monkeypatch.setenv("LOOKALIKE_STORE", str(tmp_path / "store"))
    store = open_store(str(tmp_path / "store"))
    for name, seeds in (("current", (1, 2, 3)), ("canary", (4,))):
        channel = Channel(store, name)
        for seed in seeds:
            publish(channel, draft(store, [seed], run=f"r{seed}"), after=channel.latest(), reason="x")
    an_hour_ago = time.time() - 3600
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (an_hour_ago, an_hour_ago))
    return store


def damage(store: ObjectStore, channel: str) -> str:
    """Flip a byte of what a channel points at; return the snapshot."""
    manifest = read_manifest(store, Channel(store, channel).current().snapshot)
    path = Path(store.uri) / manifest.shards[0].index.key
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    return manifest.id


def test_all_channels_are_read_and_what_nothing_needs_is_removed(store: ObjectStore, server: str) -> None:
    done = maintain(keep=1, grace="5m", dry_run=True)
    assert isinstance(done, Maintenance)
    assert [(one.channel, one.files, one.problems) for one in done.verified] == [("canary", 4, []), ("current", 4, [])]
    assert (done.snapshots_removed, len(list(list_snapshots(store)))) == (2, 4)
    again = maintain(keep=1, grace="5m")
    assert again.model_copy(update={"dry_run": True}) == done
    assert len(list(list_snapshots(store))) == 2
    json.dumps(again.model_dump(mode="json"))
    wanted = {"artifacts": {"key": {"any_": ["maintenance"]}}, "sort": "CREATED_DESC", "limit": 1}
    (artifact,) = httpx.post(f"{server}/artifacts/filter", json=wanted, timeout=30).json()
    rows = json.loads(artifact["data"])
    assert [row["what"] for row in rows] == ["channel canary", "channel current", "removed"]
    assert rows[0]["result"] == "every byte as promised"
    assert rows[2]["snapshot"] == "2 snapshots"


def test_nothing_young_is_removed_by_default(store: ObjectStore) -> None:
    done = maintain(channel="canary", verify=False)
    assert (done.verified, done.snapshots_removed, done.objects_removed) == ([], 0, 0)


def test_what_there_was_no_time_for_is_told(store: ObjectStore) -> None:
    late = maintain(keep=1, grace="5m", time_limit="0s", verify=False)
    assert (late.snapshots_removed, late.objects_removed) == (0, 0)
    done = maintain(keep=1, grace="5m", verify=False)
    assert (done.snapshots_removed, done.objects_removed, done.objects_left) == (2, late.objects_left, 0)


def test_damage_is_told_and_fails_after_the_rest_was_done(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_NOTIFY", "webhook/maintenance-test")
    damaged = damage(store, "current")
    with receiver() as inbox:
        Webhook(url=inbox.url).save("maintenance-test", overwrite=True)
        with pytest.raises(CorruptError, match=rf"channel 'current', snapshot {damaged}: the index of shard 0"):
            maintain(keep=1, grace="5m")
        assert maintain(channel="canary").verified[0].problems == []
    assert len(list(list_snapshots(store))) == 2
    (told,) = [json.loads(request.body) for request in inbox.requests]
    assert told["subject"] == "Lookalike: maintenance failed"
    assert "the index of shard 0" in told["text"]
    assert "/runs/flow-run/" in told["text"]


def test_a_manifest_that_is_gone_is_damage(store: ObjectStore) -> None:
    gone = Channel(store).current().snapshot
    store.delete(f"snapshots/{gone}/manifest.json")
    with pytest.raises(CorruptError, match=f"the store has no snapshot {gone}"):
        maintain(channel="current")


def test_where_it_cannot_be_told_what_is_needed_nothing_is_removed(store: ObjectStore) -> None:
    store.create("leases/damaged.json", b"{}")
    before = sorted(found.key for found in store.list(""))
    with pytest.raises(CollectionRefusedError):
        maintain(keep=1, grace="1h", verify=False)
    assert sorted(found.key for found in store.list("")) == before


@pytest.mark.parametrize("wrong", [{"keep": 0}, {"grace": "a day"}, {"time_limit": "long"}, {"keep": "many"}])
def test_nonsense_is_refused_before_anything_happens(store: ObjectStore, wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterTypeError):
        maintain(**wrong)  # type: ignore[call-overload]


def test_back_and_back_again_and_to_a_snapshot_by_name(store: ObjectStore) -> None:
    first, second, third = (entry.snapshot for entry in Channel(store).history())
    moved = rollback(reason="hats look like shoes")
    assert (moved.before, moved.snapshot, moved.entry) == (third, second, 4)
    assert rollback(reason="worse", to="").snapshot == first
    assert rollback(reason="as it was", to=third, store=store.uri).snapshot == third
    assert Channel(store).current().reason == "as it was"
    with pytest.raises(SnapshotNotFoundError, match="nothing to go back to"):
        rollback(reason="no more", channel="canary")


def test_a_refused_snapshot_wants_force(store: ObjectStore) -> None:
    refused = store_snapshot(store, draft(store, [9]).model_copy(update={"refused": ("recall@10 is 0.7",)}))
    with pytest.raises(SnapshotRefusedError, match=r"recall@10 is 0\.7"):
        rollback(reason="we want it", to=refused.id)
    assert rollback(reason="we want it", to=refused.id, force=True).snapshot == refused.id
    with pytest.raises(InputError, match="set `to`"):
        rollback(reason="we want it", force=True)
    with pytest.raises(ParameterTypeError):
        rollback(reason="")
