"""`lookalike encoders`: what there is, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from data.stores import open_store
from lookalike import cli
from tasks.encoders.stored import stored_encoder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["encoders", *arguments])


def test_list() -> None:
    names = call("list").stdout.split()

    assert {"efficientnet-lite0", "torchvision:MODEL", "timm:MODEL", "openclip:MODEL"} <= set(names)
    assert json.loads(call("list", "--output", "json").stdout) == names
    assert "fake" not in names


def test_list_the_models_of_a_family() -> None:
    assert "torchvision:mobilenet_v3_small" in call("list", "torchvision").stdout.split()
    unknown = call("list", "keras")
    assert (unknown.exit_code, "there are torchvision, timm, openclip" in unknown.stderr) == (1, True)


def test_show(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    section = stored_encoder(open_store(store), "fake")

    shown = json.loads(call("show", "fake", "--store", store).stdout)

    assert (shown["class"], shown["package"]) == ("tasks.encoders.fake:FakeEncoder", None)
    assert shown["fingerprint"] == shown["stored"]["fingerprint"] == section.fingerprint
    assert shown["stored"]["preprocessing"]["size"] == 32
