"""open_clip's networks: a small one of its own kind, with weights made up here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch

from lookalike.data.errors import EncoderError
from lookalike.data.stores import open_store
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import MODEL_FILE, encode, fingerprint
from lookalike.tasks.encoders.library import WeightsFile
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.openclip_models import OpenClipEncoder
from lookalike.tasks.encoders.openclip_texts import TOWERS
from lookalike.tasks.encoders.registry import find_source, list_models
from lookalike.tasks.encoders.stored import store_source
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, encode_texts
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.encoders.texts.stored import load_text_encoder

pytestmark = pytest.mark.slow  # torch takes ten seconds to import

MODEL = "Tiny-For-Tests"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A model that open_clip knows by name for as long as the tests run."""
    path = tmp_path_factory.mktemp("config") / f"{MODEL}.json"
    path.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path)
    torch.manual_seed(4)
    yield open_clip.create_model(MODEL).eval()
    open_clip.factory._MODEL_CONFIGS.pop(MODEL)


@pytest.fixture(scope="module")
def weights(clip: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    safetensors.torch.save_file(clip.state_dict(), path)
    return path


def test_models() -> None:
    assert "openclip:ViT-B-32/laion2b_s34b_b79k" in list_models("openclip")


def test_it_computes_what_open_clip_does(clip: Any, weights: Path, tmp_path: Path) -> None:
    origin = find_source(f"openclip:{MODEL}@{weights}")
    spec = origin.export(tmp_path)
    encoder = OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=1)

    vectors = encode(encoder, export.read_pictures())

    assert (spec.dimension, spec.preprocessing.size, spec.preprocessing.interpolation) == (32, 64, "bicubic")
    assert spec.fingerprint == origin.fingerprint()
    pixels = np.stack([encoder.prepare(picture) for picture in export.read_pictures()]).astype(np.float32) / 255
    constants = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in constants)
    with torch.inference_mode():
        expected = clip.encode_image((torch.from_numpy(pixels).permute(0, 3, 1, 2) - mean) / std, normalize=True)
    assert (expected.numpy() * vectors).sum(axis=1).min() > 0.99999


TEXTS = (
    "a red shoe",
    "a guitar",
    "Kinderfahrrad mit St\u00fctzr\u00e4dern",
    "\u7ea2\u8272\u8fd0\u52a8\u978b",
    "lamp " * 40,
)


def test_both_towers_are_stored_as_one_encoder(clip: Any, weights: Path, tmp_path: Path) -> None:
    source = find_source(f"openclip:{MODEL}@{weights}")
    store = open_store(str(tmp_path))

    section = store_source(store, source)

    assert section.text is not None
    assert section.fingerprint == section.text.fingerprint == source.fingerprint()
    assert section.dimension == section.text.dimension == 32
    assert len(section.files) == 5
    encoder = load_text_encoder(str(tmp_path), section.text, 1)
    tokens = open_clip.get_tokenizer(MODEL)(list(TEXTS))
    with torch.inference_mode():
        expected = clip.encode_text(tokens, normalize=True).numpy()
    found = encode_texts(encoder, list(TEXTS))
    assert (found * expected).sum(axis=1).min() > 0.99999
    alone = np.concatenate([encode_texts(encoder, [text]) for text in TEXTS])
    assert (found * alone).sum(axis=1).min() > 0.99999  # what fills up a batch plays no part
    assert not encoder.spec.padded
    assert encoder.prepare(TEXTS[-1]).truncated


def test_a_tower_that_looks_ahead_gets_texts_of_one_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIG, "custom_text": True, "text_cfg": {**CONFIG["text_cfg"], "no_causal_mask": True}}  # type: ignore[dict-item]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-Ahead", config)
    torch.manual_seed(5)
    clip = open_clip.create_model("Tiny-Ahead").eval()
    safetensors.torch.save_file(clip.state_dict(), tmp_path / "model.safetensors")
    tower = OpenClipEncoder("Tiny-Ahead", str(tmp_path / "model.safetensors")).text_tower()
    assert tower is not None
    (tmp_path / "out").mkdir()

    spec = tower.export(tmp_path / "out")

    assert spec.padded
    merges = (tmp_path / "out" / VOCABULARY_FILE).read_bytes()
    encoder = OnnxTextEncoder(tmp_path / "out" / MODEL_FILE, merges, spec, threads=1)
    with torch.inference_mode():
        expected = clip.encode_text(open_clip.tokenize(list(TEXTS), context_length=16), normalize=True).numpy()
    assert (encode_texts(encoder, list(TEXTS)) * expected).sum(axis=1).min() > 0.99999


def test_a_model_with_another_tokenizer_encodes_pictures_alone() -> None:
    for name in ("ViT-B-16-SigLIP", "roberta-ViT-B-32"):
        assert OpenClipEncoder(name, "w").text_tower() is None


@pytest.mark.parametrize(("quick", "tag"), [(False, "exact"), (True, "quick")])
def test_the_tag_says_which_activation(
    clip: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, quick: bool, tag: str
) -> None:
    tags = {"exact": {}, "quick": {"quick_gelu": True}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, MODEL, tags)
    expected = open_clip.create_model(MODEL, force_quick_gelu=quick).eval()
    expected.load_state_dict(clip.state_dict())
    planes = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    with torch.inference_mode():
        found = OpenClipEncoder(f"{MODEL}/{tag}", str(weights)).backbone().eval()(planes)
        wanted = expected.encode_image(planes)

    torch.testing.assert_close(found, wanted)


def test_only_another_activation_than_the_models_is_part_of_the_fingerprint(weights: Path) -> None:
    def departs(name: str) -> bool:
        origin = OpenClipEncoder(name, str(weights))
        plain = fingerprint(
            weights=WeightsFile(str(weights)).digest(),
            preprocessing=origin.look().preprocessing,
            pooling="image tower",
            version="export-1",
            model=name,
            **({} if "roberta" in name else {"towers": TOWERS}),
        )
        return origin.fingerprint() != plain

    assert departs("ViT-B-32/openai")
    assert departs("ViT-L-14/dfn2b")
    for name in ("ViT-B-32-quickgelu/openai", "ViT-B-32/laion2b_s34b_b79k", "ViT-B-32", "roberta-ViT-B-32"):
        assert not departs(name)


def test_the_tag_says_how_pictures_are_shown() -> None:
    openai, siglip = (OpenClipEncoder(name, "w").look() for name in ("ViT-B-32/openai", "ViT-B-16-SigLIP/webli"))

    assert openai.mean == open_clip.OPENAI_DATASET_MEAN
    assert siglip.mean == (0.5, 0.5, 0.5)
    assert openai.preprocessing.size == siglip.preprocessing.size == 224


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-33", "no model 'ViT-B-33'"),
        ("ViT-B-32", "say which weights: openclip:ViT-B-32/openai"),
        ("ViT-B-32/none", "say which weights"),
        ("hf-hub:someone/something", "no model"),
    ],
)
def test_names_that_open_clip_does_not_have(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        find_source(f"openclip:{name}")


def test_its_own_weights_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(EncoderError, match="cannot be had"):
        find_source("openclip:ViT-B-32/laion2b_s34b_b79k").fingerprint()
