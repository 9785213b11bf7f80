"""The reindex flow, run in this process on a real Prefect server and a real Dask cluster, with a small encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from data.channels import Channel
from data.errors import CatalogueError, ChannelConflictError
from data.manifest import Manifest
from data.rejects import read_rejects
from data.snapshots import list_snapshots, read_manifest
from data.stores import open_store
from flows.publishing import Report
from flows.reindex import reindex
from flows.run import Limits, Run
from tests.support.pictures import drawing, write_catalogue

pytestmark = [pytest.mark.services, pytest.mark.slow]

Reindex = Callable[..., Report]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def run(tmp_path: Path, prefect_api: str, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reindex]:
    """Reindex `tmp_path / "pictures"` into `tmp_path / "store"`."""
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", scheduler)

    def run(catalogue: Path = tmp_path / "pictures", **parameters: object) -> Report:
        report: Report = reindex(str(catalogue), store=str(tmp_path / "store"), encoder="fake", **parameters)  # type: ignore[call-overload]
        return report

    # the log's sender outlives the server, and would wait for it when the session ends
    with temporary_settings({PREFECT_API_URL: prefect_api, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield run


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


def test_what_was_trained_is_kept_and_full_trains_anew(run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 200)
    run()
    first = current(tmp_path)
    drawing(999).save(folder / "one more.png")
    run()
    second = current(tmp_path)
    assert first.index.projection is not None
    assert second.index.projection == first.index.projection
    assert second.index.trained_on == 200
    run(full=True)
    assert current(tmp_path).index.trained_on == 201


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
    rows = read_rejects(open_store(str(tmp_path / "store")), report.rejects)
    assert {(row.id, row.reason) for row in rows} == {("2", "duplicate_id"), ("", "missing_id")}


def test_nothing_usable_says_why(run: Reindex, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_text("no picture")
    with pytest.raises(CatalogueError, match=r"no picture of .* could be used; the first one: not a picture"):
        run()


def test_a_run_that_loses_the_race_says_so_and_keeps_its_snapshot(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 3)
    winner = run()
    began = Run.entry.func  # type: ignore[attr-defined]

    def overtaken(self: Run) -> object:
        entry = began(self)
        self.channel.move(winner.snapshot, after=entry, reason="somebody else, meanwhile")
        return entry

    monkeypatch.setattr(Run.entry, "func", overtaken)
    drawing(1234).save(folder / "new.png")
    with pytest.raises(ChannelConflictError, match="was moved to"):
        run()
    assert current(tmp_path).id == winner.snapshot
