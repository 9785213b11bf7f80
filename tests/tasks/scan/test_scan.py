"""Scans of a catalogue: what is read, what is taken as it is known, and what the next stages are given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.normalised import list_hashes
from lookalike.data.catalogue.rejects import RejectLog
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.publishing import publish
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.embed.work import hash_pictures
from lookalike.tasks.published import Published, read_published
from lookalike.tasks.scan.scan import CatalogueScan, ScanRequest, ScanResult, with_versions
from tests.support.catalogues import read_all
from tests.support.pictures import drawing, write_catalogue
from tests.support.snapshots import draft


class Counted:
    """A progress that counts."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def expect(self, total: int) -> None:
        self.total = total

    def advance(self, count: int) -> None:
        self.done += count


class Desk:
    """Scans of one catalogue into one store; `read` counts the products whose pictures the last one read."""

    def __init__(self, folder: Path) -> None:
        self.pictures = write_catalogue(folder / "pictures", 12)
        self.store: ObjectStore = open_store(str(folder / "store"))
        self._scratch = folder / "scratch"
        self._tables = 0
        self.read = 0
        self.progress = Counted()

    def new_table(self, name: str) -> PartitionedTable:
        self._tables += 1
        return PartitionedTable(self._scratch / f"{self._tables}-{name}")

    def scan(self, published: Published | None = None, *, full: bool = False, only_changes: bool = False) -> ScanResult:
        request = ScanRequest(str(self.pictures), FetchPolicy(), "fake", full, only_changes)
        self.read, self.progress = 0, Counted()
        self._tables += 1
        rejects = RejectLog(self._scratch.parent / f"rejects-{self._tables}.parquet")
        scan = CatalogueScan(
            self.store,
            published or Published(),
            request,
            new_table=self.new_table,
            rejects=rejects,
            progress=self.progress,
        )
        for products in scan.unread():
            hashes = hash_pictures(products, store=self.store.uri, policy=request.policy)
            scan.take_hashes(products, hashes)
            self.read += products.num_rows
            self.progress.advance(products.num_rows)
        return scan.result


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ids(result: ScanResult) -> set[str]:
    return {product for table in result.products.tables() for product in table["id"].to_pylist()}


def test_every_picture_of_a_first_scan_is_read_and_the_next_scan_knows_its_hash(desk: Desk) -> None:
    first = desk.scan()
    assert (first.listed, desk.read, len(ids(first))) == (12, 12, 12)
    assert (desk.progress.total, desk.progress.done) == (12, 12)
    again = desk.scan()
    assert (again.listed, desk.read) == (12, 0)
    assert (desk.progress.total, desk.progress.done) == (12, 12)
    assert ids(again) == ids(first)
    files = list_hashes(desk.store)
    assert files
    assert again.superfluous_files() == files  # a snapshot of this scan holds all of them
    assert desk.scan(full=True).superfluous_files() == []
    assert desk.read == 12


def test_files_of_hashes_are_kept_that_a_snapshot_of_the_scan_would_not_hold(desk: Desk) -> None:
    desk.scan()
    changed, gone = sorted(desk.pictures.rglob("*.png"))[:2]
    drawing(900).save(changed)
    os.utime(changed, ns=(1, 1))
    gone.unlink()
    result = desk.scan()
    assert (desk.read, result.listed) == (1, 11)
    assert len(result.hash_files) - len(result.superfluous_files()) == 2  # of the old picture, and of the one that went


def test_a_picture_that_cannot_be_read_is_a_reject_and_not_among_the_products(desk: Desk) -> None:
    (desk.pictures / "away.csv").write_text("id,image\n1,shoes/0000.png\n2,none.png\n")
    desk.pictures = desk.pictures / "away.csv"
    result = desk.scan()
    assert ids(result) == {"1"}
    assert [(reject.id, reject.reason) for reject in result.rejects.first] == [("2", "missing")]


def test_products_that_cannot_be_read_are_said_in_the_result_and_nowhere_else(desk: Desk) -> None:
    channel = Channel(desk.store)
    publish(channel, draft(desk.store, [1]), after=None, reason="a test")  # whose products are no Parquet
    before = read_published(channel)
    assert before.manifest is not None
    blob = before.manifest.shards[0].products
    path = Path(desk.store.uri) / blob.key
    path.chmod(0o644)
    path.write_bytes(b"x" * blob.size)
    result = desk.scan(before)
    assert result.published.manifest is None
    assert blob.key in result.published.problem
    assert (result.published.entry, result.published.attribution) == (before.entry, before.attribution)
    assert before.manifest is not None
    assert (before.problem, len(ids(result))) == ("", 12)


def test_a_picture_that_is_away_is_a_reject_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 2)
    rows = ["id,image", "1,pictures/shoes/0000.png", "2,pictures/none.png", "3,ftp://host/a.png", "4,https://h/a.png"]
    (tmp_path / "products.csv").write_text("\n".join(rows))
    found = with_versions(read_all(str(tmp_path / "products.csv")), FetchPolicy())
    assert found.products["id"].to_pylist() == ["1"]
    assert [(reject.id, reject.reason) for reject in found.rejects] == [
        ("2", "missing"),
        ("3", "unsupported_reference"),
        ("4", "host_not_allowed"),
    ]


def test_a_picture_under_another_spelling_of_its_name_is_found_and_said(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("A.JPG", "b.jpg"):
        (tmp_path / "img" / name).write_bytes(b"1")
    (tmp_path / "products.csv").write_text("id,image\n1,img\\a.jpg\n2,img/b.jpg\n3,img/c.jpg\n")
    findings = Findings()
    found = with_versions(read_all(str(tmp_path / "products.csv")), FetchPolicy(), findings)
    assert found.products["image"].to_pylist() == [f"{tmp_path}/img/A.JPG", f"{tmp_path}/img/b.jpg"]
    assert [reject.reason for reject in found.rejects] == ["missing"]
    (note,) = findings.notes
    assert note == "pictures found under another spelling of their names: 1, such as img\\a.jpg is img/A.JPG"


@pytest.mark.services
def test_an_object_under_another_spelling_of_its_name_is_found(tmp_path: Path, s3_uri: str) -> None:
    for name in ("img/Gru\u0308n.jpg", "img/my pic.jpg"):
        open_store(s3_uri).create(name, b"1")
    rows = f"id,image\n1,{s3_uri}/img/Gr\u00fcn.jpg\n2,{s3_uri}/img/my%20pic.jpg\n3,{s3_uri}\\img\\my pic.jpg\n"
    (tmp_path / "products.csv").write_text(rows)
    found = with_versions(read_all(str(tmp_path / "products.csv")), FetchPolicy())
    assert found.products["id"].to_pylist() == ["1", "2", "3"]
