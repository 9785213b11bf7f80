"""`lookalike encoders`: what there is, and where it comes from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lookalike.cli import cli
from lookalike.data.stores import open_store
from lookalike.tasks.encoders.stored import store_encoder
from lookalike.tasks.encoders.texts.stored import store_text_encoder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["encoders", *arguments])


def test_list() -> None:
    names = call("list").stdout.split()

    assert {"efficientnet-lite0", "torchvision:MODEL", "timm:MODEL", "openclip:MODEL"} <= set(names)
    assert json.loads(call("list", "--output", "json").stdout) == names
    assert "fake" not in names


@pytest.mark.slow
def test_list_the_models_of_a_family() -> None:
    assert "torchvision:mobilenet_v3_small" in call("list", "torchvision").stdout.split()
    unknown = call("list", "keras")
    assert (unknown.exit_code, "there are torchvision, timm, openclip" in unknown.stderr) == (1, True)


def test_show(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    section = store_encoder(open_store(store), "fake")

    shown = json.loads(call("show", "fake", "--store", store).stdout)

    assert (shown["class"], shown["package"]) == ("lookalike.tasks.encoders.fake:FakeEncoder", None)
    assert shown["fingerprint"] == shown["stored"]["fingerprint"] == section.fingerprint
    assert shown["stored"]["preprocessing"]["size"] == 32
    assert json.loads(call("show", "fake", "--store", store, "--output", "json").stdout) == shown


def test_show_as_text(tmp_path: Path) -> None:
    store = str(tmp_path / "store")

    def shown() -> dict[str, str]:
        lines = call("show", "fake", "--store", store, "--output", "text").stdout.splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    before = shown()
    section = store_encoder(open_store(store), "fake")
    after = shown()

    assert (before["name"], before["class"], before["stored"]) == (
        "fake",
        "lookalike.tasks.encoders.fake:FakeEncoder",
        "no",
    )
    assert (after["fingerprint"], after["dimension"], after["stored"]) == (section.fingerprint, "192", "yes")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = (", "SyntaxError: '(' was never closed"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("class A:\n    def __init__(self): raise KeyError('k')", "KeyError: 'k'"),
    ],
)
def test_an_encoder_that_breaks_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    (tmp_path / "theirs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)

    ended = call("show", "theirs:A")

    assert ended.exit_code == 1
    assert f"Error: encoder 'theirs:A' cannot be loaded from 'theirs:A': {message}" in ended.stderr


def test_encoders_of_texts(tmp_path: Path) -> None:
    names = json.loads(call("list", "--texts", "--output", "json").stdout)
    assert {"minilm", "onnx:FOLDER"} <= set(names)
    assert call("list", "timm", "--texts").exit_code == 2

    store = str(tmp_path)
    before = json.loads(call("show", "fake", "--texts", "--store", store).stdout)
    assert (before["class"], before["stored"]) == ("lookalike.tasks.encoders.texts.fake:FakeTextEncoder", None)
    store_text_encoder(open_store(store), "fake")
    after = json.loads(call("show", "fake", "--texts", "--store", store).stdout)
    assert after["stored"]["modality"] == "text"
    shown = call("show", "fake", "--texts", "--store", store, "--output", "text").stdout.splitlines()
    assert ["stored", "yes"] in [line.split() for line in shown]
