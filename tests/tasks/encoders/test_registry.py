from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import entry_points
from lookalike.tasks.encoders.entry_points import Origin
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.registry import GROUP, find_origin, find_source, list_encoders, list_models


def test_available() -> None:
    assert {"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"} <= set(list_encoders())
    assert list_encoders()[-3:] == ["torchvision:MODEL", "timm:MODEL", "openclip:MODEL"]


@pytest.mark.slow
def test_models() -> None:
    assert "torchvision:resnet50" in list_models("torchvision")
    with pytest.raises(EncoderError, match="there are torchvision, timm, openclip"):
        list_models("keras")


def test_origins_are_told_without_running_anything() -> None:
    assert find_origin("efficientnet-lite0").value == "lookalike.tasks.encoders.efficientnet_lite:EfficientNetLite0"
    assert (find_origin("efficientnet-lite0").package or "").startswith("lookalike ")
    assert find_origin("timm:resnet50").value == "lookalike.tasks.encoders.timm_models:TimmEncoder"
    assert find_origin("no.such:Thing") == Origin("no.such:Thing")


@pytest.mark.parametrize("other", ["lookalike.tasks.encoders.fake:FakeEncoder", "mine:Mine"])
def test_two_packages_with_one_name(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    points = [EntryPoint("mine", value, GROUP) for value in ("mine:Mine", other)]
    monkeypatch.setattr(entry_points, "entry_points", lambda group: points)

    if other == "mine:Mine":  # the same one, found twice on the path
        assert find_origin("mine").value == "mine:Mine"
        return
    with pytest.raises(EncoderError, match="several packages have an encoder named 'mine'"):
        find_source("mine")


def test_an_extra_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "lookalike.tasks.encoders.timm_models", raising=False)

    with pytest.raises(EncoderError, match="models of timm need the `timm` extra"):
        find_source("timm:resnet50")


@pytest.mark.parametrize("name", ["fake", "lookalike.tasks.encoders.fake:FakeEncoder"])
def test_the_fake(name: str, tmp_path: Path) -> None:
    found = find_source(name)

    assert found.export(tmp_path).fingerprint == found.fingerprint() == FakeEncoder().fingerprint()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lite9", "there are efficientnet-lite0"),
        ("", "there are"),
        ("no.such.module:Class", "cannot be loaded"),
        ("lookalike.tasks.encoders.fake:NoClass", "cannot be loaded"),
        ("pathlib:Path", "not an EncoderSource"),
        pytest.param("torchvision:resnet9999", "resnet50", marks=pytest.mark.slow),  # torch is imported
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        find_source(name)


def test_the_fake_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        FakeEncoder().export(tmp_path / name)

    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()
