"""Folders of pictures: what is a product, and what is left out with a word."""

from __future__ import annotations

import io
import os
import unicodedata
from pathlib import Path

import pytest

from lookalike.data.catalogue import folders
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.folders import is_picture
from lookalike.data.catalogue.reader import ReadOptions, read_catalogue
from lookalike.data.errors import CatalogueError
from lookalike.data.snapshots import documents
from lookalike.data.stores import open_store
from tests.support.pictures import drawing

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def put(folder: Path, *names: str, data: bytes = JPEG) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def ids(uri: str | Path, findings: Findings | None = None, store: str | None = None) -> list[str]:
    batches = read_catalogue(str(uri), options=ReadOptions(store=store), findings=findings)
    return [product for batch in batches for product in batch.products["id"].to_pylist()]


def test_pictures_are_recognised_by_their_content(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jfif", "c.jpe", "d", "e.dat", "f.JPG.bak", "notes.txt", "film.mp4")
    put(tmp_path, "g.dat", "readme", data=b"words")
    findings = Findings()
    assert ids(tmp_path, findings) == ["a.jpg", "b.jfif", "c.jpe", "d", "e.dat", "f.JPG.bak"]
    (note,) = findings.notes
    assert note.startswith("files that are no pictures were left out (1 .")
    assert note.endswith(": 4")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_the_first_bytes_of_each_form(form: str) -> None:
    data = io.BytesIO()
    drawing(1).save(data, form)
    assert is_picture(data.getvalue()[:32])
    assert not is_picture(b"BMW is a car, and this is a text about it")
    assert not is_picture(b"")


def test_waste_of_storage_boxes_is_no_product(tmp_path: Path) -> None:
    put(tmp_path, "shoes/a.jpg")
    waste = ["@eaDir/a.jpg", "#recycle", "$RECYCLE.BIN", ".thumbnails", "System Volume Information", "__MACOSX"]
    for name in waste:
        put(tmp_path, f"shoes/{name}/SYNOPHOTO_THUMB_M.jpg", f"{name}/b.jpg")
    findings = Findings()
    assert ids(tmp_path, findings) == ["shoes/a.jpg"]
    assert findings.notes == ["folders of thumbnails, copies and deleted files were left out: 10, such as #recycle"]


def test_the_store_among_the_pictures_is_no_product(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "mine/contact-sheets/x.png", "other/deep/contact-sheets/x.png", "mine2/b.jpg")
    put(tmp_path, f"other/{folders.MARKER}", data=b"{}")
    findings = Findings()
    assert ids(tmp_path, findings, store=f"{tmp_path}/mine") == ["a.jpg", "mine2/b.jpg"]
    assert findings.notes == ["a store of Lookalike was left out: 2, such as mine"]
    assert folders.MARKER == documents.MARKER


def test_nothing_in_a_folder_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.jpg", "locked/b.jpg", "z/c.jpg")
    (tmp_path / "away.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # the tests may run as root, who may read everything
    findings = Findings()
    assert ids(tmp_path, findings) == ["a.jpg", "z/c.jpg"]
    assert findings.notes == [
        "links to files that are not there were left out: 1, such as away.jpg",
        "folders could not be read (Permission denied): 1, such as locked",
        "links to folders were left out: 1, such as loop",
        "pipes, sockets and devices were left out: 1, such as pipe.jpg",
    ]


def test_deep_folders(tmp_path: Path) -> None:
    here = tmp_path
    for _ in range(1100):  # deeper than Python calls itself
        here = here / "d"
        here.mkdir()
    put(here, "a.jpg")
    try:
        assert ids(tmp_path) == ["d/" * 1100 + "a.jpg"]
    finally:
        (here / "a.jpg").unlink()
        while here != tmp_path:  # shutil calls itself for each
            here.rmdir()
            here = here.parent


def test_names_of_a_mac_become_what_people_type(tmp_path: Path) -> None:
    put(tmp_path, unicodedata.normalize("NFD", "Hüte/Grün.jpg"))
    (batch,) = read_catalogue(str(tmp_path))
    assert batch.products["id"].to_pylist() == ["Hüte/Grün.jpg"]
    assert batch.products["attributes"].to_pylist() == [{"category": "Hüte"}]
    assert Path(batch.products["image"][0].as_py()).is_file()


def test_an_empty_folder_says_what_was_left_out(tmp_path: Path) -> None:
    put(tmp_path, "@eaDir/a.jpg", "a.heicx", data=b"1")
    with pytest.raises(CatalogueError, match=r"no images below .*folders of thumbnails.* left out: 1, such as @eaDir"):
        ids(tmp_path)


@pytest.mark.services
def test_a_bucket_is_read_in_the_same_way(s3_uri: str) -> None:
    store = open_store(s3_uri)
    for name in (
        "a.jfif",
        "b",
        "@eaDir/b/T.jpg",
        "x.txt",
        "sub/lookalike-store.json",
        "sub/contact-sheets/1.png",
    ):
        store.create(f"photos/{name}", JPEG)
    store.create("photos/empty", b"")
    findings = Findings()
    assert ids(f"{s3_uri}/photos", findings) == ["a.jfif", "b"]
    assert "files that are no pictures were left out (1 without a suffix, 1 .txt): 2" in findings.notes
    assert "files of a store of Lookalike were left out: 2, such as sub/contact-sheets/1.png" in findings.notes
