"""The reindex flow, run in this process on a real Prefect server and a real Dask cluster, with a small encoder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from lookalike.data.catalogue.normalised import list_hashes
from lookalike.data.catalogue.reader import Batch, read_catalogue
from lookalike.data.catalogue.rejects import read_rejects
from lookalike.data.errors import CatalogueError, ChannelConflictError, SnapshotRefusedError, UnavailableError
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.reports import RunReport, recent_reports, write_report
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.documents import checksum
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.publishing import promote, rollback
from lookalike.data.snapshots.store import list_snapshots, read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.flows.runtime.partitions import Partition, map_partitions
from lookalike.flows.stages import scan
from lookalike.tasks.embed.work import Embedded
from lookalike.tasks.gate import Limits
from lookalike.tasks.published import Published, read_published
from lookalike.tasks.search.index import ShardedIndex
from tests.flows.conftest import Reindex
from tests.support.client import wait_for
from tests.support.pictures import drawing, write_catalogue
from tests.support.reports import run_report

pytestmark = [pytest.mark.services, pytest.mark.slow]


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def write_table(folder: Path, titles: dict[str, str]) -> Path:
    """Write products.csv over the drawings in `folder`."""
    rows = [
        f"{number},{path},{titles.get(str(number), 'thing')}"
        for number, path in enumerate(sorted(folder.rglob("*.png")))
    ]
    table = folder / "products.csv"
    table.write_text("\n".join(["id,image,title", *rows]))
    return table


def count_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets, for each partition of a scan, how many pictures were read."""
    read: list[int] = []

    def counted(*args: Any, **more: Any) -> Iterator[tuple[Partition, list[bytes]]]:
        for partition, hashes in map_partitions(*args, **more):
            read.append(partition.rows.num_rows)
            yield partition, hashes

    monkeypatch.setattr("lookalike.flows.stages.scan.map_partitions", counted)
    return read


def make_outdated(folder: Path) -> None:
    """Write the published manifest as it was before the first release: with the encoder and the index at the top."""
    (path,) = (folder / "store").glob("snapshots/*/manifest.json")
    document = json.loads(path.read_bytes())
    space = document.pop("spaces")["image"]
    projection = space["projection"] and space["projection"]["matrix"]
    shards = [{**shard, **shard.pop("spaces")["image"]} for shard in document["shards"]]
    old = {"format": 3, "encoder": space["encoder"], "index": {**space["index"], "projection": projection}}
    document = {**document, **old, "shards": shards}
    path.write_text(json.dumps({**document, "checksum": checksum(document)}))


@pytest.mark.parametrize("flow", ["run", "refresh"])
def test_a_store_from_before_the_first_release_is_built_anew_and_nothing_is_embedded(
    flow: str, request: pytest.FixtureRequest, run: Reindex, tmp_path: Path
) -> None:
    write_catalogue(tmp_path / "pictures", 12)
    run(attribution="Pictures by somebody")
    made = int(time.time())
    make_outdated(tmp_path)
    # the same products of the same second would be the same snapshot
    wait_for(lambda: int(time.time()), lambda now: now > made)
    report = request.getfixturevalue(flow)()
    assert (report.state, report.kind, report.embedded, report.reused) == ("published", "reindex", 0, 12)
    assert current(tmp_path).catalogue.attribution == "Pictures by somebody"
    assert Channel(open_store(str(tmp_path / "store"))).current().number == 2


def test_a_changed_title_embeds_nothing_and_moves_one_shard(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 40)
    run(write_table(folder, {}), shards=8)
    before = current(tmp_path)
    report = run(write_table(folder, {"7": "another thing"}), shards=8)
    after = current(tmp_path)
    assert (report.embedded, report.published) == (0, True)
    assert after.parent == before.id
    assert [shard.index for shard in after.shards] == [shard.index for shard in before.shards]
    moved = [new.products != old.products for new, old in zip(after.shards, before.shards, strict=True)]
    assert moved.count(True) == 1


def test_shards_without_a_product_are_no_change(run: Reindex, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 5)
    run(shards=8)
    assert len(current(tmp_path).shards) < 8
    assert [run(shards=shards).state for shards in (8, 2, 8, 8)] == ["unchanged", "published", "published", "unchanged"]


def test_what_was_trained_is_kept_and_full_trains_anew(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 200)
    run()
    first = current(tmp_path)
    drawing(999).save(folder / "one more.png")
    run()
    second = current(tmp_path)
    assert first.projection is not None
    assert second.projection == first.projection
    assert second.index.trained_on == 200
    run(full=True)
    assert current(tmp_path).index.trained_on == 201


@pytest.mark.parametrize("full", [True, False])
def test_a_run_makes_lost_files_of_the_published_snapshot_again(full: bool, run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 200)
    run()
    before = current(tmp_path)
    drawing(999).save(folder / "one more.png")
    assert before.projection is not None
    for lost in (before.shards[0].products, before.shards[0].index, before.projection):
        (tmp_path / "store" / lost.key).write_bytes(b"damaged")
    report = run(full=full)
    assert (report.state, report.products, report.embedded) == ("published", 201, 1)
    assert report.contact_sheet is not None
    assert "overlap_at_10" not in report.figures
    assert verify(open_store(str(tmp_path / "store")), current(tmp_path)) == []


def test_a_comparison_leaves_out_what_is_lost_and_duplicates_are_looked_for_anew(
    run: Reindex, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_NEAR_DUPLICATES", "0.5")
    folder = write_catalogue(tmp_path / "pictures", 200)
    run()
    before = current(tmp_path)
    assert before.duplicates is not None
    for lost in (before.shards[0].index, before.duplicates.groups):
        (tmp_path / "store" / lost.key).unlink()
    drawing(999).save(folder / "one more.png")
    report = run()
    assert (report.state, report.added, report.contact_sheet is None) == ("published", 1, False)
    assert before.shards[0].index.key in caplog.text
    assert before.duplicates.groups.key in caplog.text
    assert verify(open_store(str(tmp_path / "store")), current(tmp_path)) == []


def test_what_was_refused_for_its_recall_is_trained_anew(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 200)
    run()
    now = datetime.now(UTC)
    refused = run_report(run=f"{now:%Y%m%dT%H%M%SZ}-ffffffff", state="refused", figures={"recall_at_10": 0.8})
    write_report(open_store(str(tmp_path / "store")), refused)
    time.sleep(1)  # names of reports sort by the second
    for trained_on in (201, 201):
        drawing(1000 + len(list(folder.iterdir()))).save(folder / f"{len(list(folder.iterdir()))} more.png")
        run()
        assert current(tmp_path).index.trained_on == trained_on


def test_a_refused_snapshot_is_kept_unpublished_with_the_reason(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 12)
    published = run()
    drawing(555).save(folder / "good.png")
    for number in range(7):
        (folder / f"broken {number}.png").write_text("no picture")
    refused = run()
    assert not refused.published
    assert "35% of the catalogue cannot be used, the limit is 20%" in refused.refused[0]
    assert current(tmp_path).id == published.snapshot
    assert run(limits=Limits(max_rejected=0.5)).refused == []


def test_a_catalogue_that_lost_most_products_is_refused(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 12)
    published = run()
    for path in sorted(folder.rglob("*.png"))[:8]:
        path.unlink()
    refused = run()
    assert "67% of the last snapshot's products are gone" in refused.refused[0]
    assert current(tmp_path).id == published.snapshot
    assert refused.snapshot in list(list_snapshots(open_store(str(tmp_path / "store"))))


def test_no_publish_leaves_the_channel_alone(run: Reindex, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 3)
    report = run(publish=False)
    store = open_store(str(tmp_path / "store"))
    assert Channel(store).latest() is None
    assert list(list_snapshots(store)) == [report.snapshot]


def test_one_picture_of_several_products_is_embedded_once(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 3)
    table = folder / "products.csv"
    table.write_text("id,image\n1,shoes/0000.png\n2,shoes/0000.png\n2,hats/0001.png\n3,hats/0001.png\n,hats/0001.png\n")
    report = run(table)
    assert (report.products, report.embedded, report.rejected) == (3, 2, 2)
    rows = read_rejects(open_store(str(tmp_path / "store")), str(report.rejects))
    assert {(row.id, row.reason) for row in rows} == {("2", "duplicate_id"), ("", "missing_id")}


def test_many_products_of_one_picture_are_found(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 1)
    picture = next(folder.rglob("*.png"))
    for number in range(199):
        shutil.copy(picture, folder / f"copy {number}.png")
    report = run()
    assert (report.state, report.embedded, report.recall_at_10) == ("published", 1, 1.0)
    manifest = current(tmp_path)
    store = open_store(str(tmp_path / "store"))
    index = ShardedIndex.open(
        [BlobCache(tmp_path / "cache").get(store, shard.index) for shard in manifest.shards],
        [shard.count for shard in manifest.shards],
        manifest.index.dimension,
        nprobe=None,
    )
    found = index.search(index.reconstruct(7)[None], 10)
    assert (found.rows >= 0).all()
    np.testing.assert_allclose(found.scores, 1.0, atol=1e-3)


def test_nothing_usable_says_why(run: Reindex, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_text("no picture")
    with pytest.raises(
        CatalogueError, match="could be used: 1 of 1 rejects are not_an_image; the first one: not a picture"
    ):
        run()


def test_a_run_that_loses_the_race_says_so_and_keeps_its_snapshot(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 3)
    winner = run()

    def overtaken(channel: Channel) -> Published:
        published = read_published(channel)
        channel.move(str(winner.snapshot), after=published.entry, reason="somebody else, meanwhile")
        return published

    monkeypatch.setattr("lookalike.flows.stages.publish.read_published", overtaken)
    drawing(1234).save(folder / "new.png")
    with pytest.raises(ChannelConflictError, match="was moved to"):
        run()
    assert current(tmp_path).id == winner.snapshot


def test_a_rollback_while_the_catalogue_is_listed_stands(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 3)
    good = run()
    drawing(1234).save(folder / "new.png")
    run()

    def rolled_back(uri: str, **how: Any) -> Iterator[Batch]:
        rollback(Channel(open_store(str(tmp_path / "store"))), reason="the catalogue is wrong")
        yield from read_catalogue(uri, **how)

    monkeypatch.setattr("lookalike.tasks.scan.scan.read_catalogue", rolled_back)
    drawing(1235).save(folder / "newer.png")
    with pytest.raises(ChannelConflictError, match="was moved to"):
        run()
    assert current(tmp_path).id == good.snapshot


@pytest.mark.parametrize(
    "fails", ["reporting.reports.get_client", "stages.report.store_rejects", "stages.report.show_run"]
)
def test_what_fails_after_publishing_does_not_say_that_nothing_was_published(
    fails: str, run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(tmp_path / "pictures", 3)
    told: list[RunReport] = []

    def fail(*_: object, **__: object) -> None:
        raise httpx.ConnectError("the server restarts")

    monkeypatch.setattr(f"lookalike.flows.{fails}", fail)
    monkeypatch.setattr("lookalike.flows.stages.report.notify", lambda report, *_: told.append(report))
    report = run()
    assert (report.state, report.snapshot, report.products) == ("published", current(tmp_path).id, 3)
    assert told == [report]
    (kept,) = recent_reports(open_store(str(tmp_path / "store")), "current", 5)
    assert (kept.state, kept.snapshot) == (report.state, report.snapshot)


def test_pictures_that_cannot_be_used_are_not_tried_again_until_they_change(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 12)
    (folder / "bad.png").write_text("no picture")
    assert run().rejected == 1
    again = run()
    assert (again.state, again.rejected, again.worker_peak_bytes) == ("unchanged", 1, None)  # no cluster was started
    drawing(31).save(folder / "bad.png")
    mended = run()
    assert (mended.state, mended.rejected, mended.added, mended.embedded) == ("published", 0, 1, 1)


def test_a_run_that_died_leaves_its_hashes_to_the_next(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(tmp_path / "pictures", 12)
    store = open_store(str(tmp_path / "store"))
    with monkeypatch.context() as patch:
        patch.setattr(
            "lookalike.flows.stages.embed.store_encoder", lambda *_: (_ for _ in ()).throw(ValueError("it died here"))
        )
        with pytest.raises(ValueError, match="it died here"):
            run()
    assert len(list_hashes(store)) == 1
    assert [(one.state, one.message) for one in recent_reports(store, "current", 5)] == [("failed", "it died here")]
    seen = count_read(monkeypatch)
    report = run()
    assert (report.state, report.products, seen) == ("published", 12, [])
    assert list_hashes(store) == []


def test_hashes_are_kept_until_a_published_snapshot_holds_them(
    run: Reindex, refresh: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    read = count_read(monkeypatch)
    assert [run(publish=False).state for _ in range(3)] == ["unpublished"] * 3
    assert read == [30]
    run()
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    read.clear()
    for number in range(3):  # those that were only touched stay in their shard, with the version they had
        drawing(900 + number).save(folder / f"new {number}.png")
        assert refresh().kind == "refresh"
    assert read == [31, 1, 1]
    drawing(903).save(folder / "new 3.png")
    run()
    drawing(904).save(folder / "new 4.png")
    run()
    assert len(list_hashes(open_store(str(tmp_path / "store")))) == 1  # of the last run
    assert read == [31, 1, 1, 1, 1]


def test_hashes_of_a_run_that_died_are_kept_for_its_channel(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(tmp_path / "pictures", 12)
    with monkeypatch.context() as patch:
        patch.setattr(
            "lookalike.flows.stages.embed.store_encoder", lambda *_: (_ for _ in ()).throw(ValueError("it died here"))
        )
        with pytest.raises(ValueError, match="it died here"):
            run(channel="canary")
    run(write_catalogue(tmp_path / "others", 9, first=500))
    seen = count_read(monkeypatch)
    assert (run(channel="canary").products, seen) == (12, [])


def test_a_stage_that_is_tried_again_embeds_only_what_is_left(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(tmp_path / "pictures", 80)
    begun: list[list[int]] = []

    def cut_off(*args: Any, **more: Any) -> Iterator[tuple[Partition, Embedded]]:
        begun.append([])
        for number, (partition, embedded) in enumerate(map_partitions(*args, **more)):
            begun[-1].append(partition.rows.num_rows)
            yield partition, embedded
            if len(begun) == 1 and number == 1:
                raise OSError("the scheduler is gone")

    monkeypatch.setattr("lookalike.flows.stages.embed.map_partitions", cut_off)
    monkeypatch.setenv("LOOKALIKE_BATCH_PARTITION", "8")
    report = run()
    assert (report.state, report.products, report.embedded) == ("published", 80, 80)
    assert (report.stages_retried, report.workers_lost, report.partitions_retried) == (1, 0, 0)
    first, second = begun
    assert first == [8, 8]
    assert sum(second) <= 64


def test_touched_pictures_are_read_and_nothing_is_published(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 6)
    first = run()
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    assert run().snapshot == first.snapshot
    assert run().worker_peak_bytes is None  # the second time they are known, though no snapshot says so


def test_each_change_is_counted(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 12)
    table = write_table(folder, {})
    run(table)
    drawing(77).save(min(folder.rglob("*.png")))
    rows = write_table(folder, {"5": "another title"}).read_text().splitlines()
    drawing(78).save(folder / "new.png")
    table.write_text("\n".join([*(row for row in rows if not row.startswith("7,")), f"new,{folder}/new.png,thing"]))
    report = run(table)
    changes = (report.added, report.changed_pictures, report.changed_text, report.removed)
    assert changes == (1, 1, 1, 1)
    assert (report.products, report.embedded) == (12, 2)
    assert report.figures["overlap_at_10"] > 0.5
    assert report.contact_sheet is not None
    png = open_store(str(tmp_path / "store")).read(report.contact_sheet)
    assert png.startswith(b"\x89PNG")
    # one task a stage, whatever the number of products; Prefect may record the last ones only after the report
    assert report.task_runs is not None
    assert 10 < report.task_runs <= 21


def test_a_snapshot_that_answers_otherwise_is_refused_and_force_publishes_it(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 40)
    run()
    for seed, path in enumerate(sorted(folder.rglob("*.png"))):
        drawing(1000 + seed).save(path)
    refused = run(limits=Limits(min_overlap=0.99))
    assert refused.state == "refused"
    assert "of the first hits are those of the last snapshot, the limit is 99%" in refused.refused[0]
    store = open_store(str(tmp_path / "store"))
    assert refused.snapshot is not None
    with pytest.raises(SnapshotRefusedError, match="--force"):
        promote(Channel(store), refused.snapshot, reason="a test")
    promote(Channel(store), refused.snapshot, reason="a test", force=True)
    assert current(tmp_path).id == refused.snapshot


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_bytes=1000), "bytes, the limit is 1,000"),
        (Limits(max_growth=1.5), "there are 2.0 times as many products as before, the limit is 1.5"),
    ],
)
def test_a_snapshot_of_an_unexpected_size_is_refused(limits: Limits, reason: str, run: Reindex, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 5)
    run()
    write_catalogue(tmp_path / "pictures", 5, first=5)
    assert any(reason in refused for refused in run(limits=limits).refused)


def test_the_memory_of_the_flow_is_for_a_bucket_and_not_for_the_catalogue(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalogue(tmp_path / "pictures", 200)
    largest = 0
    read = PartitionedTable.read

    def counted(self: PartitionedTable, bucket: int) -> pa.Table | None:
        nonlocal largest
        table = read(self, bucket)
        largest = max(largest, 0 if table is None else table.num_rows)
        return table

    monkeypatch.setattr(PartitionedTable, "read", counted)
    assert run().products == 200
    assert 0 < largest < 25


def test_a_full_disk_ends_a_run_at_once(run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To try again takes two minutes, and a disk that is full stays so."""
    write_catalogue(tmp_path / "pictures", 3)
    tries = []

    def full(*_: object, **__: object) -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(scan, "CatalogueScan", full)
    with pytest.raises(UnavailableError, match=r"there is no space left in .*set TMPDIR to a folder with room"):
        run()
    assert len(tries) == 1
