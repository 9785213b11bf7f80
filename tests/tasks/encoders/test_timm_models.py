"""timm's networks, with weights made up here: no test may wait for a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import MODEL_FILE, encode
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source, list_models

pytestmark = pytest.mark.slow  # torch takes ten seconds to import

MODEL = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's smallest network, for eleven classes, as safetensors."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    safetensors.torch.save_file(timm.create_model(MODEL, num_classes=11).state_dict(), path)
    return path


def test_models() -> None:
    found = list_models("timm")

    assert f"timm:{MODEL}" in found
    assert len(found) > 1000


def test_it_computes_what_timm_does(weights: Path, tmp_path: Path) -> None:
    origin = find_source(f"timm:{MODEL}@{weights}")
    spec = origin.export(tmp_path)
    encoder = OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=1)

    vectors = encode(encoder, export.read_pictures())

    assert (spec.preprocessing.size, spec.fingerprint) == (160, origin.fingerprint())
    assert str(weights.parent) not in spec.model_dump_json()
    network = timm.create_model(MODEL, num_classes=0).eval()
    network.load_state_dict(safetensors.torch.load_file(weights), strict=False)
    pixels = np.stack([encoder.prepare(picture) for picture in export.read_pictures()]).astype(np.float32) / 255
    planes = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 0.5) / 0.5  # as timm has it for these weights
    with torch.inference_mode():
        expected = encoder.finish(network(planes).numpy())
    assert (expected * vectors).sum(axis=1).min() > 0.99999


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "close to it are .*resnet50"),
        ("resnet50.no_such_tag", "no weights 'resnet50.no_such_tag'"),
        ("hf-hub:someone/something", "no model"),
        ("local-dir:/tmp", "no model"),
    ],
)
def test_names_that_timm_does_not_have(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        find_source(f"timm:{name}")


def test_weights_of_another_network(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="do not fit"):
        find_source(f"timm:test_vit@{weights}").export(tmp_path)


def test_its_own_weights_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(EncoderError, match="cannot be had"):
        find_source(f"timm:{MODEL}").fingerprint()
