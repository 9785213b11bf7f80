"""Pictures where a catalogue says they are, and what is said about those that are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data.errors import ImageRejectedError
from data.images import image_version, read_image
from data.stores import open_store


def reason(reference: str, max_bytes: int = 100) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        read_image(reference, max_bytes=max_bytes)
    assert reference.replace("\0", "") in str(caught.value).replace("\0", "")
    return caught.value.reason


def test_a_local_picture(tmp_path: Path) -> None:
    path = tmp_path / "ü.png"
    path.write_bytes(b"12345")
    assert read_image(str(path)) == read_image(f"file://{path}") == b"12345"
    assert read_image(str(path), max_bytes=5) == b"12345"
    assert reason(str(path), max_bytes=4) == "too_many_bytes"
    before = image_version(str(path))
    assert image_version(str(path)) == before
    path.write_bytes(b"123456")
    assert image_version(str(path)) != before


def test_what_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(str(tmp_path / "missing.png")) == "missing"
    assert reason(str(tmp_path)) == "unreadable"
    assert reason(str(tmp_path / "pipe.png")) == "unreadable"  # would wait for ever
    assert reason("/dev/zero") == "unreadable"  # would never end
    assert reason("a\0b.png") == "unreadable"
    assert reason("https://example.com/a.png") == "unsupported_reference"
    with pytest.raises(ImageRejectedError, match="no file at"):
        image_version(str(tmp_path / "missing.png"))


@pytest.mark.services
def test_a_picture_in_a_bucket(s3_uri: str) -> None:
    store = open_store(s3_uri)
    store.create("img/ü.png", b"12345")
    assert read_image(f"{s3_uri}/img/ü.png") == b"12345"
    assert reason(f"{s3_uri}/img/ü.png", max_bytes=4) == "too_many_bytes"
    assert reason(f"{s3_uri}/img/missing.png") == "missing"
    assert reason("s3://no-such-bucket-here/a.png") in {"missing", "unreadable"}
    assert image_version(f"{s3_uri}/img/ü.png") == image_version(f"{s3_uri}/img/ü.png")
