"""Following a channel: through every swap, damage and absence, queries are answered, and the truth is told."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.data.errors import StoreUnavailableError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.stores import ObjectStore
from lookalike.serving.live import follower
from lookalike.serving.live.loaded import LastGood
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import Picture, Query
from lookalike.serving.replies import product_path
from tests.serving.conftest import Serve, make_settings
from tests.support.client import Client, wait_for
from tests.support.shop import OTHER_ENCODER, Shop, picture, product_ids


def damage(shop: Shop, blob: Blob) -> None:
    """Flip one byte in the store."""
    file = shop.folder / "store" / blob.key
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def repair(shop: Shop, blob: Blob) -> None:
    damage(shop, blob)


def serving(client: Client, manifest: Manifest) -> dict[str, object]:
    return client.wait(lambda state: state["ready"] and state["snapshot"] == manifest.id)


def search(client: Client) -> str:
    response = client.search(product_id="a", k=1)
    assert response.status_code == 200, response.text
    return str(response.json()["snapshot"])


def test_before_anything_is_published(shop: Shop, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = serve()
    state = client.wait(lambda state: state["store"]["state"] == "empty")
    assert caplog.text.count("what `lookalike reindex` publishes there is served at once") == 1
    assert client.get("/readyz").status_code == 503
    assert "lookalike reindex" in state["detail"]
    for response in (
        client.search(product_id="a"),
        client.post("/v1/search", files={"image": ("x.png", picture(1))}),
        client.get("/v1/products/a"),
        client.get("/v1/products"),
        client.get("/v1/snapshots/current"),
    ):
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert "lookalike reindex" in response.json()["detail"]
        assert int(response.headers["retry-after"]) > 0
    assert client.get("/livez").status_code == 200
    assert client.get("/v1/snapshots").json() == {"snapshots": []}
    assert client.get("/").status_code == 200

    manifest = shop.publish(8)
    serving(client, manifest)
    assert search(client) == manifest.id


def test_a_new_snapshot_is_served_without_a_restart(shop: Shop, serve: Serve) -> None:
    first = shop.publish(8)
    client = serve()
    serving(client, first)
    later = product_path(product_ids(20)[15])
    assert client.get(later).status_code == 404
    second = shop.publish(20)
    serving(client, second)
    assert search(client) == second.id
    assert client.get(later).status_code == 200
    assert [held["id"] for held in client.get("/v1/snapshots").json()["snapshots"]] == [second.id]


def test_a_rollback_and_a_move_to_the_same(shop: Shop, serve: Serve) -> None:
    first = shop.publish(8)
    client = serve()
    serving(client, first)
    second = shop.publish(10)
    serving(client, second)
    shop.point_at(first)
    serving(client, first)
    entry = shop.point_at(first)
    wait_for(
        lambda: client.get("/v1/snapshots/current").json()["channel"]["number"], lambda number: number == entry.number
    )
    assert b"lookalike_swaps_total 3.0" in client.get("/metrics").content


@pytest.mark.parametrize("part", ["index", "products", "encoder"])
def test_a_damaged_snapshot_is_refused_and_the_old_one_goes_on(shop: Shop, serve: Serve, part: str) -> None:
    good = shop.publish(8)
    client = serve()
    serving(client, good)
    bad = shop.build(12, first_seed=500)
    shard = bad.shards[0]
    blob = {"index": shard.index, "products": shard.products, "encoder": bad.encoder.model}[part]
    damage(shop, blob)
    if part == "encoder":  # the one that is cached is good, whatever happened to the store
        for file in (make_settings(shop.folder).cache_folder(shop.store.uri) / "blobs").iterdir():
            file.unlink()
    shop.point_at(bad)

    state = client.wait(lambda state: state["refused"] is not None)
    assert state["refused"]["snapshot"] == bad.id
    assert "damaged" in state["refused"]["reason"]
    assert (state["ready"], state["snapshot"]) == (True, good.id)
    assert "goes on" in state["detail"]
    assert search(client) == good.id
    wait_for(lambda: client.get("/readyz").json()["refused"]["attempts"], lambda attempts: attempts >= 2)
    assert b"lookalike_swap_failures_total" in client.get("/metrics").content

    better = shop.publish(10) if part != "encoder" else None
    if better is None:
        repair(shop, blob)  # the same entry is tried again, and succeeds
        better = bad
    state = serving(client, better)
    assert state["refused"] is None
    assert search(client) == better.id


def test_a_damaged_snapshot_ends_nobody_s_paging(shop: Shop, serve: Serve) -> None:
    """The one before goes on answering those who name it, and what both need stays in the cache."""
    first = shop.publish(8)
    client = serve(retain_seconds=60.0)
    serving(client, first)
    second = shop.publish(9, first_seed=100)
    serving(client, second)
    bad = shop.build(10, first_seed=200)
    damage(shop, bad.shards[-1].products)
    shop.point_at(bad)
    wait_for(lambda: (client.get("/readyz").json()["refused"] or {}).get("attempts", 0), lambda attempts: attempts >= 2)
    for manifest in (first, second):
        page = client.search(product_id="a", offset=2, k=2, snapshot=manifest.id)
        assert (page.status_code, page.json().get("snapshot")) == (200, manifest.id)
    cached = {file.name for file in (make_settings(shop.folder).cache_folder(shop.store.uri) / "blobs").iterdir()}
    assert {blob.sha256 for manifest in (first, second) for blob in manifest.blobs()} <= cached

    third = shop.publish(11, first_seed=300)
    serving(client, third)
    assert client.search(product_id="a", snapshot=second.id).status_code == 200
    assert client.search(product_id="a", snapshot=first.id).json()["code"] == "snapshot_not_held"


def test_an_entry_without_a_snapshot(shop: Shop, serve: Serve) -> None:
    good = shop.publish(8)
    client = serve()
    serving(client, good)
    shop.channel.move("20261122T000000Z-00000000", after=shop.channel.latest(), reason="a mistake", actor="tests")
    state = client.wait(lambda state: state["refused"] is not None)
    assert "no snapshot" in state["refused"]["reason"]
    assert search(client) == good.id


def test_a_snapshot_of_a_newer_release(shop: Shop, serve: Serve) -> None:
    good = shop.publish(8)
    client = serve()
    serving(client, good)
    newer = shop.build(9)
    file = shop.folder / "store" / "snapshots" / newer.id / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    shop.point_at(newer)
    state = client.wait(lambda state: state["refused"] is not None)
    assert state["refused"]["snapshot"] == newer.id
    assert search(client) == good.id


def test_the_store_goes_away_and_comes_back(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shop.publish(8)
    client = serve()
    serving(client, first)
    store = client.runtime.service.follower.store

    def refuse(key: str) -> bytes:
        raise StoreUnavailableError("connection refused")

    read = store.read
    monkeypatch.setattr(store, "read", refuse)
    state = client.wait(lambda state: state["store"]["state"] == "unreachable")
    assert (state["ready"], state["store"]["detail"]) == (True, "connection refused")
    assert search(client) == first.id
    assert b"lookalike_store_reachable 0.0" in client.get("/metrics").content
    second = shop.publish(9)
    monkeypatch.setattr(store, "read", read)
    serving(client, second)


def test_it_starts_from_its_cache_while_the_store_is_away(shop: Shop, serve: Serve) -> None:
    manifest = shop.publish(8)
    first = serve()
    serving(first, manifest)
    wait_for(lambda: list((shop.folder / "cache").rglob("last-good.json")), bool)
    away = shop.folder / "away"
    (shop.folder / "store").rename(away)

    second = serve()
    state = serving(second, manifest)
    assert "last good snapshot" in str(state["detail"])
    assert search(second) == manifest.id

    away.rename(shop.folder / "store")
    second.wait(lambda state: state["store"]["state"] == "ok")
    newer = shop.publish(9)
    serving(second, newer)


def test_a_store_that_never_answers(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from lookalike.data.snapshots.channels import Channel

    manifest = shop.publish(8)
    serving(serve(), manifest)
    wait_for(lambda: list((shop.folder / "cache").rglob("last-good.json")), bool)
    monkeypatch.setattr(follower, "FIRST_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(Channel, "latest", lambda self: time.sleep(60))
    serving(serve(), manifest)  # and its end does not wait for the minute either


@pytest.fixture
def may_fetch(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until this is set, the store hands out no blob."""
    event, fetch = threading.Event(), blobs.fetch

    def slow(store: ObjectStore, blob: Blob, path: Path) -> None:
        event.wait(30)
        fetch(store, blob, path)

    monkeypatch.setattr(blobs, "fetch", slow)
    yield event
    event.set()


def noted(shop: Shop, serve: Serve, may_fetch: threading.Event) -> Manifest:
    """Return a snapshot that lies whole in the cache, and let no other one come into it."""
    may_fetch.set()
    manifest = shop.publish(8)
    serving(serve(), manifest)
    wait_for(lambda: list((shop.folder / "cache").rglob("last-good.json")), bool)
    may_fetch.clear()
    return manifest


def test_a_start_does_not_wait_for_a_newer_snapshot_that_takes_long(
    shop: Shop, serve: Serve, may_fetch: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = noted(shop, serve, may_fetch)
    newer = shop.publish(9, first_seed=100)
    monkeypatch.setattr(follower, "FIRST_LOOK_SECONDS", 0.2)
    client = serve()
    serving(client, before)
    assert search(client) == before.id
    may_fetch.set()
    serving(client, newer)
    assert client.get("/readyz").json()["store"]["state"] == "ok"


def test_a_snapshot_that_was_replaced_is_not_served_where_the_newest_comes_soon(
    shop: Shop, serve: Serve, may_fetch: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have been withdrawn because it was bad."""
    noted(shop, serve, may_fetch)
    newer = shop.publish(9, first_seed=100)
    client = serve()
    assert client.search(product_id="a").json()["code"] == "not_ready"
    may_fetch.set()
    serving(client, newer)
    assert "from the local cache" not in caplog.text


def test_a_newer_snapshot_that_is_damaged_leaves_the_cached_one_at_a_start(shop: Shop, serve: Serve) -> None:
    before = shop.publish(8)
    serving(serve(), before)
    wait_for(lambda: list((shop.folder / "cache").rglob("last-good.json")), bool)
    bad = shop.build(9, first_seed=100)
    damage(shop, bad.shards[0].index)
    shop.point_at(bad)
    client = serve()
    # on a busy machine the cached one may be served before the damage of the newer one is found
    state = client.wait(lambda state: state["ready"] and state["refused"])
    assert state["snapshot"] == before.id
    assert "damaged" in str(state["refused"])


def test_a_damaged_cache_is_fetched_again_or_ignored(shop: Shop, serve: Serve) -> None:
    manifest = shop.publish(8)
    serving(serve(), manifest)
    note = wait_for(lambda: list((shop.folder / "cache").rglob("last-good.json")), bool)[0]
    note.write_text("{")
    for blob in (note.parent / "blobs").iterdir():
        blob.unlink()
    serving(serve(), manifest)


def test_a_store_that_was_made_anew(shop: Shop, serve: Serve, tmp_path: Path) -> None:
    for count in (8, 9, 10):
        manifest = shop.publish(count)
    client = serve()
    serving(client, manifest)
    shutil.rmtree(tmp_path / "store")
    fresh = shop.publish(11)
    assert shop.channel.current().number == 1
    serving(client, fresh)


def test_queries_keep_the_snapshot_that_they_began_with(shop: Shop, serve: Serve) -> None:
    first = shop.publish(8)
    client = serve()
    serving(client, first)
    service = client.runtime.service

    async def across_a_swap() -> tuple[str, list[str]]:
        with service.follower.lease() as held:
            second = await asyncio.to_thread(shop.publish, 12, first_seed=700)
            await asyncio.to_thread(wait_for, lambda: service.follower.current, lambda current: current is not held)
            states = [one.manifest.id for one in service.follower.loaded]
            assert states == [second.id, first.id]
            listed = held.searcher.search(held.searcher.embed(picture(3)), 1)
            return held.manifest.id, [hit.product.id for hit in listed]

    assert client.run(across_a_swap()) == (first.id, [product_ids(8)[3]])
    assert len(client.get("/v1/snapshots").json()["snapshots"]) == 1


def test_a_swap_to_another_encoder_under_queries(shop: Shop, serve: Serve, tmp_path: Path) -> None:
    """Items of both encoders wait together; no batch mixes them, and each reply is whole."""
    first = shop.publish(8)
    client = serve()
    serving(client, first)
    service = client.runtime.service
    second = shop.build(8, encoder=OTHER_ENCODER)
    assert second.encoder.fingerprint != first.encoder.fingerprint

    async def load() -> list[tuple[str, str]]:
        async def one(number: int) -> tuple[str, str]:
            await asyncio.sleep(number * 0.005)
            seed = number % 8
            answer = await service.search(Query((Picture(picture(seed)),), QueryOptions(k=1)), deadline=float("inf"))
            return answer.snapshot, answer.hits[0].product.id

        queries = asyncio.gather(*(one(number) for number in range(200)))
        await asyncio.to_thread(shop.point_at, second)
        return list(await queries)

    ids = product_ids(8)
    for number, (snapshot, found) in enumerate(client.run(load())):
        assert snapshot in {first.id, second.id}
        assert found == ids[number % 8]
    serving(client, second)
    assert client.get("/v1/snapshots/current").json()["encoder"]["fingerprint"] == second.encoder.fingerprint


def test_last_good_survives_nonsense(tmp_path: Path, shop: Shop) -> None:
    note = LastGood(tmp_path / "note.json")
    assert note.load() is None
    for text in ("", "{", "[]", "{}", '{"entry": {}, "manifest": {}}'):
        (tmp_path / "note.json").write_text(text)
        assert note.load() is None


def test_a_full_cache_is_cleaned_at_once_and_recovers(
    shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop.publish(8)
    client = serve()
    serving(client, first)
    folder = client.runtime.follower._cache.folder
    (folder / ("0" * 64)).write_bytes(b"of a snapshot that nobody serves any more")
    download = type(client.runtime.follower.store).download

    def fill(store: object, key: str, path: Path) -> None:
        if any(file.name == "0" * 64 for file in folder.iterdir()):
            error = OSError(errno.ENOSPC, "No space left on device")
            raise StoreUnavailableError(f"{key}: {error}") from error
        download(client.runtime.follower.store, key, path)

    monkeypatch.setattr(type(client.runtime.follower.store), "download", fill)
    second = shop.publish(12, first_seed=50)
    serving(client, second)
    assert not (folder / ("0" * 64)).exists()


def test_a_full_cache_is_reported_as_the_cache(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    store = client.runtime.follower.store

    def fill(_: object, key: str, path: Path) -> None:
        error = OSError(errno.ENOSPC, "No space left on device")
        raise StoreUnavailableError(f"{key}: {error}") from error

    monkeypatch.setattr(type(store), "download", fill)
    shop.publish(8)
    state = client.wait(lambda state: state["refused"] is not None)
    assert f"the local cache {client.runtime.follower._cache.folder} cannot be written" in state["refused"]["reason"]
    told = client.search(product_id="a").json()
    assert told["code"] == "not_ready"
    assert str(shop.folder) not in told["detail"]
    assert "The newest snapshot cannot be read" in told["detail"]


def test_a_removed_cache_folder_does_not_stop_the_next_snapshot(shop: Shop, serve: Serve) -> None:
    client = serve()
    serving(client, shop.publish(8))
    shutil.rmtree(client.runtime.follower._cache.folder.parent)
    second = shop.publish(12, first_seed=50)
    serving(client, second)
    assert search(client) == second.id


def test_a_store_that_hangs_is_noticed(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.2)
    client = serve()
    ends = threading.Event()

    def hang(*_: object) -> None:
        ends.wait(30)

    monkeypatch.setattr(type(client.runtime.follower.store), "list", hang)
    monkeypatch.setattr(type(client.runtime.follower.store), "read", hang)
    try:
        state = client.wait(lambda state: state["store"]["state"] == "unreachable")
        assert "does not answer within" in state["store"]["detail"]
        told = client.search(product_id="a").json()
        assert (told["code"], told["status"]) == ("not_ready", 503)
        assert "store" in told["detail"]
        assert str(shop.folder) not in told["detail"]
    finally:
        ends.set()
