"""The refresh flow: what changed is found at once, what went is not, and nothing else is built again."""

from __future__ import annotations

import contextvars
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.errors import UnknownProductError
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.publishing import promote, rollback
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.flows import refresh as refresh_module
from lookalike.flows.runtime import session
from lookalike.flows.runtime.session import channel_lock
from lookalike.tasks import delta
from lookalike.tasks.gate import Limits
from lookalike.tasks.search.searcher import Hit, Searcher
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing, write_catalogue

pytestmark = [pytest.mark.services, pytest.mark.slow]


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def opened(folder: Path) -> Searcher:
    return Searcher.open(open_store(str(folder / "store")), current(folder), BlobCache(folder / "cache"), threads=1)


def say_attributes(folder: Path) -> dict[str, object]:
    """Return the attributes of product 0 that come from the catalogue, without the colour that a server adds."""
    attributes = opened(folder).product("0").attributes
    return {name: value for name, value in attributes.items() if name != "colour"}


def first(searcher: Searcher, picture: Path) -> str:
    return searcher.search(searcher.embed(picture.read_bytes()), 1)[0].product.id


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refresh")


@pytest.fixture
def tmp_path(place: Path) -> Iterator[Path]:
    """An empty folder at the same place for each test, as snapshots know where the pictures of a catalogue are."""
    folder = place / "test"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def pictures(tmp_path: Path, place: Path, run: Reindex) -> Path:
    """A catalogue with a full build in two shards: built for the first test that asks, and copied for the others."""
    built = place / "built"
    if built.exists():
        shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    else:
        write_catalogue(tmp_path / "pictures", 120)
        run(shards=2)
        shutil.copytree(tmp_path, built)
    return tmp_path / "pictures"


def test_what_came_changed_and_went_is_seen_and_the_build_stays(
    refresh: Reindex, pictures: Path, tmp_path: Path
) -> None:
    before = current(tmp_path)
    drawing(900).save(pictures / "hats" / "new.png")
    drawing(901).save(pictures / "shoes" / "0000.png")
    (pictures / "bags" / "0002.png").unlink()
    report = refresh()
    assert (report.state, report.kind, report.products) == ("published", "refresh", 120)
    assert (report.added, report.changed_pictures, report.removed, report.embedded) == (1, 1, 1, 2)
    after = current(tmp_path)
    base = [shard for shard in after.shards if not shard.delta]
    assert [shard.index for shard in base] == [shard.index for shard in before.shards]
    assert [shard.products for shard in base] == [shard.products for shard in before.shards]
    assert sum(shard.dead for shard in base) == 2
    assert [shard.count for shard in after.shards if shard.delta] == [2]
    assert after.format == before.format == 1
    assert verify(open_store(str(tmp_path / "store")), after) == []
    searcher = opened(tmp_path)
    assert first(searcher, pictures / "hats" / "new.png") == "hats/new.png"
    assert first(searcher, pictures / "shoes" / "0000.png") == "shoes/0000.png"
    with pytest.raises(UnknownProductError):
        searcher.product("bags/0002.png")
    found = searcher.search(searcher.embed((pictures / "hats" / "0001.png").read_bytes()), 500)
    assert len(found) == 120
    assert len({hit.product.id for hit in found}) == 120


def test_deltas_become_one_and_a_reindex_folds_them_in(
    refresh: Reindex, run: Reindex, pictures: Path, tmp_path: Path
) -> None:
    drawing(900).save(pictures / "a.png")
    drawing(901).save(pictures / "b.png")
    refresh()
    drawing(902).save(pictures / "c.png")
    drawing(903).save(pictures / "b.png")
    (pictures / "a.png").unlink()
    report = refresh()
    assert (report.added, report.changed_pictures, report.removed) == (1, 1, 1)
    assert [(shard.count, shard.dead) for shard in current(tmp_path).shards if shard.delta] == [(2, 0)]
    assert refresh().state == "unchanged"
    answers = [hit.product.id for hit in some_hits(opened(tmp_path))]
    folded = run(shards=2)
    assert (folded.state, folded.embedded, folded.added, folded.removed) == ("published", 0, 0, 0)
    assert not any(shard.delta or shard.dead for shard in current(tmp_path).shards)
    assert [hit.product.id for hit in some_hits(opened(tmp_path))] == answers
    assert run(shards=2).state == "unchanged"


def test_an_encoder_whose_weights_were_moved_is_the_same(
    refresh: Reindex, run: Reindex, pictures: Path, tmp_path: Path
) -> None:
    moved = "tests.support.shop:MovedEncoder"
    assert run(encoder=moved, shards=2).state == "unchanged"
    drawing(900).save(pictures / "new.png")
    report = refresh(encoder=moved)
    assert (report.state, report.kind, report.embedded) == ("published", "refresh", 1)
    assert current(tmp_path).encoder.name == moved


def test_a_channel_keeps_its_encoder_until_a_person_names_another(
    refresh: Reindex, run: Reindex, pictures: Path, tmp_path: Path
) -> None:
    drawing(900).save(pictures / "new.png")
    report = refresh(encoder=None)
    assert (report.kind, report.state, report.embedded) == ("refresh", "published", 1)
    other = "tests.support.shop:OtherEncoder"
    report = run(encoder=other, shards=2)
    assert report.state == "refused"
    (reason,) = report.refused
    assert reason.startswith(f"the encoder is {other}, and that of the last snapshot is fake: scores change")
    assert current(tmp_path).encoder.name == "fake"
    assert run(encoder=other, shards=2, limits=Limits(new_encoder=True)).state == "published"
    assert refresh(encoder=other).state == "unchanged"


def test_a_rollback_stands_until_a_person_lets_runs_go_on(
    refresh: Reindex, run: Reindex, pictures: Path, tmp_path: Path
) -> None:
    drawing(900).save(pictures / "new.png")
    refresh()
    channel = Channel(open_store(str(tmp_path / "store")))
    restored = rollback(channel, reason="hats look like shoes")
    drawing(901).save(pictures / "newer.png")
    for again in (refresh, run):
        report = again()
        assert report.state == "skipped"
        assert "(hats look like shoes): runs do not publish until" in report.message
    assert channel.current() == restored
    assert run(publish=False).state == "unpublished"
    promote(channel, restored.snapshot, reason="the feed is repaired")
    assert refresh().state == "published"


def some_hits(searcher: Searcher) -> list[Hit]:
    vector = np.random.default_rng(0).normal(size=searcher.manifest.encoder.dimension).astype(np.float32)
    return searcher.search(vector, 50)


def test_only_another_title_needs_neither_a_picture_nor_a_cluster(
    refresh: Reindex, run: Reindex, tmp_path: Path
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 60)
    table = folder / "products.csv"
    rows = [f"{number},{path},thing" for number, path in enumerate(sorted(folder.rglob("*.png")))]
    table.write_text("\n".join(["id,image,title", *rows]))
    run(table)
    rows[7] = rows[7].replace("thing", "another thing")
    table.write_text("\n".join(["id,image,title", *rows]))
    report = refresh(table)
    assert (report.state, report.changed_text, report.embedded) == ("published", 1, 0)
    assert opened(tmp_path).product("7").title == "another thing"


def test_what_only_went_leaves_tombstones_only(refresh: Reindex, pictures: Path, tmp_path: Path) -> None:
    (pictures / "hats" / "0001.png").unlink()
    assert refresh().removed == 1
    assert [shard.dead for shard in current(tmp_path).shards].count(1) == 1
    assert not any(shard.delta for shard in current(tmp_path).shards)


def test_a_picture_that_broke_takes_its_product_away(refresh: Reindex, pictures: Path, tmp_path: Path) -> None:
    (pictures / "hats" / "0001.png").write_text("no picture")
    report = refresh()
    assert (report.state, report.removed, report.rejected) == ("published", 1, 1)
    assert not opened(tmp_path).products.has("hats/0001.png")


def test_a_picture_that_cannot_be_looked_at_for_a_moment_takes_nothing_away(
    refresh: Reindex, run: Reindex, tmp_path: Path
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    paths = sorted(folder.rglob("*.png"))
    table = folder / "products.csv"

    def write(title: str, *more: str) -> None:
        rows = [f"{number},{path},{title if number == 1 else 'thing'}" for number, path in enumerate(paths)]
        table.write_text("\n".join(["id,image,title", *rows, *more]))

    write("thing")
    run(table)
    for path in paths[:3]:
        path.unlink()
        path.mkdir()  # what cannot be read, and is there
    write("thing", f"new,{paths[0]},thing")
    report = refresh(table)
    assert (report.state, report.unseen, report.removed, report.rejected) == ("unchanged", 3, 0, 1)
    assert "3 pictures could not be looked at: their products stay as they were" in report.message
    write("another")
    report = refresh(table)
    assert (report.state, report.unseen, report.changed_text, report.removed) == ("published", 3, 1, 0)
    assert opened(tmp_path).product("1").title == "another"
    report = run(table, full=True)
    assert (report.state, report.unseen, report.products, report.removed) == ("published", 3, 30, 0)
    for number, path in enumerate(paths[:3]):
        path.rmdir()
        drawing(number + 900).save(path)
    report = refresh(table)
    assert (report.state, report.unseen, report.changed_pictures) == ("published", 0, 3)
    paths[0].unlink()
    report = refresh(table)
    assert (report.removed, report.reject_reasons) == (1, {"missing": 1})


def test_a_channel_without_a_snapshot_gets_a_full_build(refresh: Reindex, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 6)
    report = refresh()
    assert (report.kind, report.state, report.products) == ("reindex", "published", 6)


def test_too_much_that_changed_makes_a_full_build(
    refresh: Reindex, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "MOST_OF_BASE", 0.02)
    write_catalogue(pictures, 3, first=500)
    report = refresh()
    assert (report.kind, report.state, report.added) == ("reindex", "published", 3)
    assert (report.embedded, report.reused) == (3, 120)
    assert not any(shard.delta for shard in current(tmp_path).shards)


@pytest.mark.parametrize("lost", ["products", "index"])
def test_a_lost_file_of_the_published_snapshot_makes_a_full_build(
    lost: str, refresh: Reindex, run: Reindex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    run(attribution="Pictures by Ann")
    blob: Blob = getattr(current(tmp_path).shards[0], lost)
    (tmp_path / "store" / blob.key).unlink()
    write_catalogue(folder, 1, first=500)
    report = refresh()
    assert (report.kind, report.state, report.products) == ("reindex", "published", 31)
    assert blob.key in caplog.text
    assert verify(open_store(str(tmp_path / "store")), current(tmp_path)) == []
    assert current(tmp_path).catalogue.attribution == "Pictures by Ann"


def test_an_attribution_stays_until_another_is_given(refresh: Reindex, run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    run(attribution="Pictures by Ann")
    write_catalogue(folder, 1, first=500)
    assert (refresh().kind, current(tmp_path).catalogue.attribution) == ("refresh", "Pictures by Ann")
    write_catalogue(folder, 1, first=501)
    run()
    assert current(tmp_path).catalogue.attribution == "Pictures by Ann"
    assert (refresh(attribution="").kind, current(tmp_path).catalogue.attribution) == ("reindex", "")


def test_another_attribute_makes_a_full_build(refresh: Reindex, run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    paths = sorted(folder.rglob("*.png"))
    table = folder / "products.csv"
    table.write_text("\n".join(["id,image,price", *(f"{i},{path},{i}" for i, path in enumerate(paths))]))
    run(table)
    table.write_text("\n".join(["id,image,price", *(f"{i},{path},{i or 'free'}" for i, path in enumerate(paths))]))
    report = refresh(table)
    assert (report.kind, report.state) == ("reindex", "published")
    assert str(opened(tmp_path).products.attributes["price"]) == "string"


def test_codes_are_never_put_among_numbers(refresh: Reindex, run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    paths = sorted(folder.rglob("*.png"))
    table = folder / "products.csv"

    def write(code: str) -> None:
        table.write_text(
            "\n".join(["id,image,code", *(f"{i},{path},{'' if i else code}" for i, path in enumerate(paths))])
        )

    write("4.5")
    run(table)
    write("")
    assert (refresh(table).kind, say_attributes(tmp_path)) == ("refresh", {"code": None})
    write("12345678901234567890")
    assert refresh(table).kind == "reindex"
    assert say_attributes(tmp_path) == {"code": "12345678901234567890"}


def test_decimals_are_never_put_among_floats(refresh: Reindex, run: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    paths = [str(path) for path in sorted(folder.rglob("*.png"))]
    table = folder / "products.parquet"

    def write(price: float | Decimal, kind: pa.DataType) -> None:
        prices = pa.array([price, *[None] * (len(paths) - 1)], kind)
        pq.write_table(pa.table({"id": list(map(str, range(len(paths)))), "image": paths, "price": prices}), table)

    write(4.5, pa.float64())
    run(table)
    write(Decimal("0.35"), pa.decimal128(10, 2))
    assert refresh(table).kind == "reindex"
    assert say_attributes(tmp_path) == {"price": Decimal("0.35")}


def test_a_new_attribute_of_a_few_products_is_served_and_then_nothing_changes(
    refresh: Reindex, run: Reindex, tmp_path: Path
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    paths = sorted(folder.rglob("*.png"))
    table = folder / "products.csv"
    table.write_text("\n".join(["id,image,price", *(f"{i},{path},{i}" for i, path in enumerate(paths))]))
    run(table)
    rows = [f"{i},{path},{i},{'' if i else 'yes'}" for i, path in enumerate(paths)]
    table.write_text("\n".join(["id,image,price,sale", *rows]))
    report = refresh(table)
    assert (report.kind, report.state, report.changed_text) == ("reindex", "published", 1)
    assert say_attributes(tmp_path) == {"price": 0, "sale": "yes"}
    assert refresh(table).state == "unchanged"


def test_sizes_that_look_like_numbers_and_whole_prices_stay_a_refresh(
    refresh: Reindex, run: Reindex, tmp_path: Path
) -> None:
    folder = write_catalogue(tmp_path / "pictures", 30)
    paths = sorted(folder.rglob("*.png"))
    table = folder / "products.csv"

    def write(size: str, price: str) -> None:
        rows = [f"{i},{path},{'S' if i else size},{i or price}" for i, path in enumerate(paths)]
        table.write_text("\n".join(["id,image,size,price", *rows]))

    write("7", "1.5")
    run(table)
    write("9", "2")
    assert refresh(table).kind == "refresh"
    assert say_attributes(tmp_path) == {"size": "9", "price": 2.0}
    assert refresh(table).state == "unchanged"


def test_a_refresh_of_too_few_products_is_refused(refresh: Reindex, pictures: Path, tmp_path: Path) -> None:
    published = current(tmp_path).id
    (pictures / "hats" / "0001.png").unlink()
    report = refresh(limits=Limits(max_vanished=0.001))
    assert report.state == "refused"
    assert current(tmp_path).id == published


def test_a_refresh_beside_another_run_is_skipped(
    refresh: Reindex, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with channel_lock(str(tmp_path / "store"), "current", wait_seconds=5):
            held.set()
            done.wait(60)

    context = contextvars.copy_context()  # with the settings of this test
    thread = threading.Thread(target=context.run, args=(hold,))
    thread.start()
    try:
        assert held.wait(30)
        drawing(900).save(pictures / "new.png")
        with monkeypatch.context() as patched:
            patched.setattr(refresh_module, "BUSY_SECONDS", 3.0)
            report = refresh()
    finally:
        done.set()
        thread.join()
    assert report.state == "skipped"
    assert "another run is working on channel 'current'" in report.message
    assert refresh().state == "published"


def test_a_prefect_server_that_is_late_is_not_taken_for_another_run(
    refresh: Reindex, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def too_late(*_names: str, **_more: object) -> Iterator[None]:
        raise TimeoutError
        yield

    monkeypatch.setattr(session, "concurrency", too_late)
    drawing(900).save(pictures / "new.png")
    report = refresh()
    assert report.state == "skipped"
    assert "did not give the lock of channel 'current' within 20 s, and no run holds it" in report.message
