"""OpenVINO runs what ONNX Runtime runs, with the same vectors, and is asked for only where it is faster."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import openvino
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder, has_dot_products
from lookalike.tasks.encoders.openvino import OpenVinoSession
from lookalike.tasks.encoders.precision.names import Precision
from lookalike.tasks.images.preprocessing import Preprocessing

COMPUTES_IN_8_BITS = pytest.param(
    "int8", marks=pytest.mark.skipif(not has_dot_products(), reason="needs 8-bit dot products (VNNI)")
)


@pytest.fixture
def spec(tmp_path: Path) -> EncoderSpec:
    return FakeEncoder().export(tmp_path)


def opened(folder: Path, spec: EncoderSpec, precision: Precision, *, threads: int = 1) -> OnnxEncoder:
    change = {"precision": precision}
    return OnnxEncoder(folder / MODEL_FILE, spec.model_copy(update=change), threads=threads, spread=True)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def runs_on_openvino(encoder: OnnxEncoder) -> bool:
    return isinstance(encoder._sessions.wide, OpenVinoSession)


@pytest.mark.parametrize("precision", [COMPUTES_IN_8_BITS, "bfloat16"])
def test_vectors_are_those_of_onnx_runtime(tmp_path: Path, spec: EncoderSpec, precision: Precision) -> None:
    expected = opened(tmp_path, spec, "float32")
    encoder = opened(tmp_path, spec, precision)
    assert (runs_on_openvino(expected), runs_on_openvino(encoder)) == (False, True)
    encoder.warm_up()
    batch = pixels(5)
    vectors = encoder.infer(batch)
    assert vectors.shape == (5, spec.dimension)
    cosines = (encoder.finish(vectors) * expected.finish(expected.infer(batch))).sum(axis=1)
    assert cosines.min() > 0.999
    alone = np.concatenate([encoder.infer(batch[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, vectors, rtol=1e-2, atol=1e-2)


def test_threads_that_share_it_get_their_own_vectors(tmp_path: Path, spec: EncoderSpec) -> None:
    encoder = opened(tmp_path, spec, "bfloat16", threads=2)
    batches = [pixels(48)[row : row + 2] for row in range(0, 48, 2)]
    expected = [encoder.infer(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(encoder.infer, batches))
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), rtol=1e-2, atol=1e-2)
    assert np.ptp([batch[0] for batch in expected], axis=0).max() > 0.1  # they would differ if they were mixed up


@pytest.mark.parametrize("model", [b"", b"no model"])
def test_no_model(spec: EncoderSpec, model: bytes) -> None:
    with pytest.raises(EncoderError, match="cannot be loaded by OpenVINO"):
        OnnxEncoder(model, spec.model_copy(update={"precision": "bfloat16"}), threads=1)


def test_a_model_that_is_not_what_the_spec_says(tmp_path: Path, spec: EncoderSpec) -> None:
    other = spec.model_copy(update={"preprocessing": Preprocessing(size=64)})
    with pytest.raises(EncoderError, match="the spec says"):
        opened(tmp_path, other, "bfloat16")


def test_without_it_bfloat16_names_the_extra(
    tmp_path: Path, spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EncoderError, match="install the `openvino` extra on workers and servers"):
        opened(tmp_path, spec, "bfloat16")


@pytest.mark.skipif(not has_dot_products(), reason="needs 8-bit dot products (VNNI)")
def test_without_it_onnx_runtime_computes_in_8_bits(
    tmp_path: Path, spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    assert not runs_on_openvino(opened(tmp_path, spec, "int8"))
