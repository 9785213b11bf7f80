"""The projection of a lineage: learnt from distorted copies, once, and without them where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest, ProjectionSection
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing, write_catalogue

pytestmark = [pytest.mark.services, pytest.mark.slow]

FEW = "10"


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def projection_of(manifest: Manifest) -> ProjectionSection:
    assert manifest.image.projection is not None
    return manifest.image.projection


def list_copies(folder: Path) -> set[str]:
    return {path.name for path in (folder / "store" / "distorted").rglob("*.parquet")}


def test_it_is_learnt_once_and_copies_are_embedded_once(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_DISTORTED_PICTURES", FEW)
    folder = write_catalogue(tmp_path / "pictures", 40)
    report = run()
    first = current(tmp_path)
    assert projection_of(first).kind == "distortions"
    assert (first.requires, first.index.dimension, report.notes) == (("projection:distortions",), 48, [])
    assert "distorted copies of 10 pictures" in first.index.reason
    copies = list_copies(tmp_path)
    assert len(copies) == 2
    run(full=True)
    assert projection_of(current(tmp_path)) == projection_of(first)
    drawing(999).save(folder / "one more.png")
    run()
    second = current(tmp_path)
    assert second.products == 41
    assert projection_of(second) == projection_of(first)
    assert second.requires == first.requires
    assert list_copies(tmp_path) == copies


def test_what_a_lineage_learnt_before_stays(run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_catalogue(tmp_path / "pictures", 200)
    run()
    first = current(tmp_path)
    monkeypatch.setenv("LOOKALIKE_DISTORTED_PICTURES", FEW)
    assert run().state == "unchanged"
    drawing(999).save(folder / "one more.png")
    run()
    second = current(tmp_path)
    assert second.products == 201
    assert projection_of(second) == projection_of(first)
    assert (projection_of(second).kind, second.requires) == ("whitening", ())
    assert not list_copies(tmp_path)


def test_without_copies_in_time_it_is_whitening_and_the_report_says_so(
    run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_DISTORTED_PICTURES", FEW)
    monkeypatch.setattr("lookalike.flows.stages.index.DISTORT_SECONDS", -1.0)
    write_catalogue(tmp_path / "pictures", 200)
    report = run()
    assert report.state == "published"
    assert projection_of(current(tmp_path)).kind == "whitening"
    assert "without distorted copies" in report.notes[0]


def test_fewer_dimensions_are_learnt_where_they_are_asked_for(run: Reindex, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 260)
    run(index_dimensions=32)
    assert current(tmp_path).index.dimension == 32
