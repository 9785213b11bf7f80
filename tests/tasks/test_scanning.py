"""Scanning: pictures that did not move are not read again."""

from __future__ import annotations

import os
from pathlib import Path

from data.catalogue import read_catalogue
from tasks.scanning import with_hashes, with_known_hashes, with_versions
from tests.support.pictures import drawing, write_catalogue


def test_only_moved_pictures_lack_their_hash(tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path, 6)
    first = with_versions(read_catalogue(str(folder))).products
    previous = with_hashes(first, [bytes([i]) * 32 for i in range(6)])

    drawing(77).save(folder / "shoes" / "0003.png")
    drawing(78).save(folder / "shoes" / "new.png")
    os.utime(folder / "hats" / "0001.png", ns=(1, 1))

    again = with_known_hashes(with_versions(read_catalogue(str(folder))).products, previous)
    unknown = again.filter(again["image_hash"].is_null())["id"].to_pylist()
    assert unknown == ["hats/0001.png", "shoes/0003.png", "shoes/new.png"]
    known = dict(zip(again["id"].to_pylist(), again["image_hash"].to_pylist(), strict=True))
    assert known["bags/0002.png"] == bytes([0]) * 32


def test_a_picture_that_is_away_is_a_reject_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 2)
    rows = ["id,image", "1,pictures/shoes/0000.png", "2,pictures/none.png", "3,ftp://host/picture.png"]
    (tmp_path / "products.csv").write_text("\n".join(rows))
    found = with_versions(read_catalogue(str(tmp_path / "products.csv")))
    assert found.products["id"].to_pylist() == ["1"]
    assert [(reject.id, reject.reason) for reject in found.rejects] == [
        ("2", "missing"),
        ("3", "unsupported_reference"),
    ]
