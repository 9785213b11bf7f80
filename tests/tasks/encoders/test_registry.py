from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import EncoderError
from tasks.encoders.fake import FakeEncoder
from tasks.encoders.registry import available, source


def test_available() -> None:
    assert "efficientnet-lite0" in available()
    assert "torchvision:MODEL" in available()


@pytest.mark.parametrize("name", ["fake", "tasks.encoders.fake:FakeEncoder"])
def test_the_fake(name: str, tmp_path: Path) -> None:
    found = source(name)

    assert found.export(tmp_path).fingerprint == found.fingerprint() == FakeEncoder().fingerprint()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lite9", "there are efficientnet-lite0"),
        ("", "there are"),
        ("no.such.module:Class", "cannot be loaded"),
        ("tasks.encoders.fake:NoClass", "cannot be loaded"),
        ("pathlib:Path", "not an EncoderSource"),
        ("torchvision:resnet9999", "resnet50"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        source(name)


def test_the_fake_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        FakeEncoder().export(tmp_path / name)

    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()
