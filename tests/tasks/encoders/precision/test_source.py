"""An encoder in 8 bits or in bfloat16 gives nearly the same vectors, under another fingerprint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lookalike.data.errors import EncoderError
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.encoders import onnx, openvino
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.encoders.export import measure_least_cosine
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder, has_dot_products
from lookalike.tasks.encoders.precision.source import PARITY, ReducedSource
from lookalike.tasks.encoders.registry import find_origin, find_source
from lookalike.tasks.encoders.stored import find_spec, store_encoder

needs_dot_products = pytest.mark.skipif(not has_dot_products(), reason="needs 8-bit dot products (VNNI)")


def test_the_registry_knows_them() -> None:
    names = [f"efficientnet-lite{size}{end}" for size in (0, 1) for end in ("", "+int8", "+bfloat16")]
    sources = [find_source(name) for name in names]
    assert [source.name for source in sources] == names
    assert len({source.fingerprint() for source in sources}) == len(names)
    assert {find_origin(name) for name in names[:3]} == {find_origin("efficientnet-lite0")}


@needs_dot_products
@pytest.mark.slow
def test_vectors_are_nearly_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = exported("efficientnet-lite0", tmp_path / "float32")
    assert full.spec.precision == "float32"

    rounded = exported("efficientnet-lite0+bfloat16", tmp_path / "bfloat16")
    assert rounded.spec.precision == "bfloat16"
    least = measure_least_cosine(full, rounded)
    assert least > 0.999
    if has_bfloat16():  # elsewhere OpenVINO may compute in 32 bits
        assert least < 0.99999

    quantized = exported("efficientnet-lite0+int8", tmp_path / "int8")
    assert quantized.spec.precision == "int8"
    assert 0.99 < measure_least_cosine(full, quantized) < 0.99999
    sizes = [(tmp_path / precision / MODEL_FILE).stat().st_size for precision in ("float32", "int8")]
    assert sizes[1] < sizes[0] / 3

    monkeypatch.setattr(openvino, "is_installed", lambda: False)  # ONNX Runtime, from here on
    same = OnnxEncoder(tmp_path / "int8" / MODEL_FILE, quantized.spec, threads=1)
    assert 0.999 < measure_least_cosine(quantized, same) < 0.999999


def has_bfloat16() -> bool:
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())


def exported(name: str, folder: Path) -> OnnxEncoder:
    folder.mkdir()
    spec = find_source(name).export(folder)
    assert [file.name for file in folder.iterdir()] == [MODEL_FILE]
    return OnnxEncoder(folder / MODEL_FILE, spec, threads=1)


@needs_dot_products
@pytest.mark.slow
def test_it_is_stored_under_its_name() -> None:
    store = MemoryStore()
    section = store_encoder(store, "efficientnet-lite0+int8")
    assert section.name == "efficientnet-lite0+int8"
    spec = find_spec(store, section.fingerprint)
    assert spec is not None
    assert spec.precision == "int8"


def test_bfloat16_that_loses_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARITY, "bfloat16", 1.1)
    with pytest.raises(EncoderError, match=r"loses too much in bfloat16 .*use --precision float32"):
        ReducedSource(FakeEncoder(), "bfloat16").export(tmp_path)


def test_a_model_without_convolutions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no convolutions to compute in 8 bits: use --precision float32"):
        ReducedSource(FakeEncoder(), "int8").export(tmp_path)


def test_an_encoder_with_a_tower_of_texts_is_refused() -> None:
    class Towered(FakeEncoder):
        def text_tower(self) -> None: ...

    with pytest.raises(EncoderError, match="use --precision float32"):
        ReducedSource(Towered(), "int8")


def test_a_processor_that_gives_other_vectors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = FakeEncoder().export(tmp_path)
    monkeypatch.setattr(onnx, "has_dot_products", lambda: False)
    OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=1)
    with pytest.raises(EncoderError, match="no 8-bit dot products"):
        OnnxEncoder(tmp_path / MODEL_FILE, spec.model_copy(update={"precision": "int8"}), threads=1)


def test_readers_before_it_can_read_specs_of_32_bits(tmp_path: Path) -> None:
    spec = FakeEncoder().export(tmp_path)
    assert "precision" not in json.loads(spec.model_dump_json())
    assert EncoderSpec.model_validate_json(spec.model_dump_json()) == spec
