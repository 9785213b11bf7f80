from __future__ import annotations

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from lookalike.data.errors import EncoderError, ImageRejectedError
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec, encode
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.images.decode import ImageLimits
from lookalike.tasks.images.preprocessing import Preprocessing


def picture(seed: int, size: int = 60) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((size, size)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def spec(tmp_path: Path) -> EncoderSpec:
    return FakeEncoder().export(tmp_path)


@pytest.fixture
def encoder(tmp_path: Path, spec: EncoderSpec) -> OnnxEncoder:
    return OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=1)


def test_vectors(encoder: OnnxEncoder) -> None:
    vectors = encode(encoder, [picture(1), picture(2), picture(1)])

    assert vectors.shape == (3, encoder.spec.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    assert (vectors[0] == vectors[2]).all()
    assert float(vectors[0] @ vectors[1]) < 0.9


def test_alone_or_in_a_batch_a_picture_has_the_same_vector(encoder: OnnxEncoder) -> None:
    pictures = [picture(seed) for seed in range(7)]

    together = encode(encoder, pictures)

    for image, vector in zip(pictures, together, strict=True):
        assert float(encode(encoder, [image])[0] @ vector) >= 0.9999


def test_nothing_gives_nothing(encoder: OnnxEncoder) -> None:
    assert encode(encoder, []).shape == (0, encoder.spec.dimension)


def test_from_bytes_and_from_a_file_are_the_same(tmp_path: Path, spec: EncoderSpec, encoder: OnnxEncoder) -> None:
    other = OnnxEncoder((tmp_path / MODEL_FILE).read_bytes(), spec, threads=2)
    other.warm_up()

    assert (encode(other, [picture(1)]) == encode(encoder, [picture(1)])).all()


def test_many_threads_share_a_session(encoder: OnnxEncoder) -> None:
    expected = encode(encoder, [picture(3)])

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: encode(encoder, [picture(3)]), range(40)))

    assert all((result == expected).all() for result in results)


class Watched:
    """A real session that says with how many threads a batch begins, and holds it until it may go on."""

    def __init__(self, session: Any, threads: int, begun: Queue[int], may_go_on: threading.Event) -> None:
        self.session, self.threads, self.begun, self.may_go_on = session, threads, begun, may_go_on
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

    def run(self, *what: Any) -> Any:
        self.begun.put(self.threads)
        assert self.may_go_on.wait(30)
        return self.session.run(*what)


def test_batches_have_a_thread_each_when_there_are_as_many_as_threads(
    tmp_path: Path, spec: EncoderSpec, encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: Queue[int] = Queue()
    may_go_on = threading.Event()
    open_session = ort.InferenceSession

    def watched(model: str, options: ort.SessionOptions, **more: Any) -> Watched:
        return Watched(open_session(model, options, **more), options.intra_op_num_threads, begun, may_go_on)

    monkeypatch.setattr(ort, "InferenceSession", watched)
    spread = OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=3, spread=True)
    pixels = encoder.prepare(picture(1))[None]

    with ThreadPoolExecutor(5) as pool:
        running, threads = [], []
        for _ in range(5):
            running.append(pool.submit(spread.infer, pixels))
            threads.append(begun.get(timeout=30))
        may_go_on.set()
        vectors = [one.result() for one in running]
    vectors.append(spread.infer(pixels))

    assert [*threads, begun.get()] == [3, 3, 1, 1, 1, 3]
    for vector in vectors:
        np.testing.assert_allclose(vector, encoder.infer(pixels), atol=1e-5)


def test_limits_hold(encoder: OnnxEncoder) -> None:
    with pytest.raises(ImageRejectedError, match="megapixels"):
        encoder.prepare(picture(1), ImageLimits(max_pixels=100))


@pytest.mark.parametrize("shape", [(32, 32, 3), (0, 32, 32, 3), (1, 32, 31, 3), (1, 3, 32, 32)])
def test_wrong_batches(encoder: OnnxEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encoder.infer(np.zeros(shape, dtype=np.uint8))


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 191},
        {"input_name": "pixels"},
        {"output_name": "features"},
        {"preprocessing": Preprocessing(size=64)},
    ],
)
def test_a_model_that_is_not_what_the_spec_says(tmp_path: Path, spec: EncoderSpec, change: dict[str, object]) -> None:
    with pytest.raises(EncoderError, match="the spec says"):
        OnnxEncoder(tmp_path / MODEL_FILE, spec.model_copy(update=change), threads=1)


@pytest.mark.parametrize("model", [b"", b"no model"])
def test_no_model(spec: EncoderSpec, model: bytes) -> None:
    with pytest.raises(EncoderError, match="cannot be loaded"):
        OnnxEncoder(model, spec, threads=1)


def test_no_file(tmp_path: Path, spec: EncoderSpec) -> None:
    with pytest.raises(EncoderError, match="cannot be loaded"):
        OnnxEncoder(tmp_path / "absent.onnx", spec, threads=1)


def test_what_a_query_needs_is_free_of_torch() -> None:
    needed = ("images.decode", "images.preprocessing", "encoders.base", "encoders.onnx", "embed.pipeline")
    modules = ", ".join(f"lookalike.tasks.{name}" for name in needed)
    heavy = ("torch", "torchvision", "onnx", "onnxscript", "prefect", "dask", "distributed")
    code = f"import sys, {modules}; sys.exit(' '.join(m for m in {heavy!r} if m in sys.modules) or 0)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
