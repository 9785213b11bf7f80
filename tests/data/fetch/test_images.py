"""Pictures where a catalogue says they are, and what is said about those that are not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lookalike.data.errors import ImageRejectedError
from lookalike.data.fetch.images import image_version, read_image
from lookalike.data.fetch.policy import FetchPolicy
from lookalike.data.stores import open_store
from tests.support.sites import Site, answer, running


def reason(reference: str, max_bytes: int = 100, policy: FetchPolicy | None = None) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        read_image(reference, max_bytes=max_bytes, policy=policy)
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
    assert reason("ftp://example.com/a.png") == "unsupported_reference"
    with pytest.raises(ImageRejectedError, match="no file at"):
        image_version(str(tmp_path / "missing.png"))


@pytest.mark.parametrize("reference", ["http://example.com/a.png", "HTTPS://example.com/a.png", "http://"])
def test_nothing_is_fetched_without_a_policy(reference: str) -> None:
    assert reason(reference) == "host_not_allowed"
    with pytest.raises(ImageRejectedError, match="LOOKALIKE_FETCH__ALLOWED_HOSTS"):
        image_version(reference)


def test_a_picture_over_http() -> None:
    with running(Site()) as site:
        url = f"http://127.0.0.1:{site.port}"
        policy = FetchPolicy(
            allowed_hosts=("127.0.0.1",), allowed_networks=("127.0.0.0/8",), allowed_ports=(site.port,), max_bytes=6
        )
        site.pages = {"/a.png": [answer(b"12345", ETag='"1"')], "/b.png": [answer(b"1234567")]}
        assert read_image(f"{url}/a.png", policy=policy) == b"12345"
        assert image_version(f"{url}/a.png", policy=policy) == '"1"'
        assert image_version(f"{url}/b.png", policy=policy) is None
        assert reason(f"{url}/a.png", 4, policy) == "too_many_bytes"
        assert reason(f"{url}/b.png", 100, policy) == "too_many_bytes"
        assert reason(f"{url}/missing.png", 100, policy) == "missing"
        assert reason(f"http://localhost:{site.port}/a.png", 100, policy) == "host_not_allowed"
        assert reason("http://0x7f.1/a.png", 100, policy) == "bad_url"
        assert reason(f"{url}/a.png", 100, replace(policy, allowed_networks=())) == "private_address"
        with pytest.raises(ImageRejectedError) as caught:
            image_version(f"{url}/missing.png", policy=policy)
        assert caught.value.reason == "missing"


@pytest.mark.services
def test_a_picture_in_a_bucket(s3_uri: str) -> None:
    store = open_store(s3_uri)
    store.create("img/ü.png", b"12345")
    assert read_image(f"{s3_uri}/img/ü.png") == b"12345"
    assert reason(f"{s3_uri}/img/ü.png", max_bytes=4) == "too_many_bytes"
    assert reason(f"{s3_uri}/img/missing.png") == "missing"
    assert reason("s3://no-such-bucket-here/a.png") in {"missing", "unreadable"}
    assert image_version(f"{s3_uri}/img/ü.png") == image_version(f"{s3_uri}/img/ü.png")
