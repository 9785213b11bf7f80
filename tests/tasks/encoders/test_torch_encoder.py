"""An encoder's network on torch: on the CPU here, which computes in half precision as well, if slowly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.torch_encoder import TorchEncoder, build_network, check_same_vectors, open_on_gpu
from lookalike.tasks.images.preprocessing import Preprocessing

pytestmark = pytest.mark.slow  # torch takes ten seconds to import

FIT = Preprocessing(size=32)


class Small(nn.Module):
    """A backbone that exports in a moment, with features whose cubes half precision cannot hold."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, 8, 3, stride=2)
        self.pool = export.Gem()
        self.most = most
        self.sizes: list[int] = []

    def forward(self, planes: Tensor) -> Tensor:
        if self.most and len(planes) > self.most:
            raise torch.OutOfMemoryError
        if not torch.compiler.is_exporting():
            self.sizes.append(len(planes))
        pooled: Tensor = self.pool(100 * torch.relu(self.layer(planes)))
        return pooled


class SmallSource:
    """A source of it, with a network; `fingerprint` as a test wants it."""

    name = "small"

    def __init__(self, fingerprint: str = "0" * 16) -> None:
        self._fingerprint = fingerprint

    def fingerprint(self) -> str:
        return self._fingerprint

    def network(self) -> nn.Module:
        return network()

    def export(self, directory: Path) -> EncoderSpec:
        spec = EncoderSpec(name="small", fingerprint="0" * 16, dimension=8, preprocessing=FIT, pooling="gem3")
        export.export(network(), spec, directory)
        return spec


def network(backbone: nn.Module | None = None) -> nn.Module:
    return export.FromPixels(backbone or Small(), (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> OnnxEncoder:
    folder = tmp_path_factory.mktemp("small")
    return OnnxEncoder(folder / MODEL_FILE, SmallSource().export(folder), threads=1)


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, FIT.size, FIT.size, 3), np.uint8)


def test_half_precision_gives_the_same_vectors(stored: OnnxEncoder) -> None:
    encoder = TorchEncoder(network(), stored.spec, device="cpu")

    raw = encoder.infer(pixels(5))

    assert raw.dtype == np.float32
    assert raw.shape == (5, 8)
    cosines = (encoder.finish(raw) * stored.finish(stored.infer(pixels(5)))).sum(axis=1)
    assert cosines.min() >= 0.999
    assert not np.array_equal(raw, stored.infer(pixels(5)))
    assert check_same_vectors(encoder, stored) is encoder


def test_a_batch_that_does_not_fit_is_halved(stored: OnnxEncoder) -> None:
    backbone = Small(most=3)
    encoder = TorchEncoder(network(backbone), stored.spec, device="cpu")

    raw = encoder.infer(pixels(11))

    np.testing.assert_allclose(raw, TorchEncoder(network(), stored.spec, device="cpu").infer(pixels(11)), rtol=0.02)
    assert max(backbone.sizes) <= 3
    assert sum(backbone.sizes) == 11


def test_a_picture_that_does_not_fit_alone_is_an_error(stored: OnnxEncoder) -> None:
    class Never(Small):
        def forward(self, planes: Tensor) -> Tensor:
            raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        TorchEncoder(network(Never()), stored.spec, device="cpu").infer(pixels(2))


def test_another_network_is_refused(stored: OnnxEncoder) -> None:
    class Other(Small):
        def forward(self, planes: Tensor) -> Tensor:
            return super().forward(planes).flip(1)

    with pytest.raises(EncoderError, match=r"differ from ONNX Runtime's .*LOOKALIKE_EMBED_DEVICE=cpu"):
        check_same_vectors(TorchEncoder(network(Other()), stored.spec, device="cpu"), stored)


def test_another_version_is_refused(stored: OnnxEncoder) -> None:
    with pytest.raises(EncoderError, match="another version on this worker"):
        build_network(SmallSource("f" * 16), stored.spec)


def test_a_source_without_a_network_is_refused(stored: OnnxEncoder) -> None:
    with pytest.raises(EncoderError, match="no `network` that torch can run"):
        build_network(FakeEncoder(), stored.spec)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_worker_without_a_gpu_says_so(stored: OnnxEncoder) -> None:
    with pytest.raises(EncoderError, match="torch finds no GPU on this worker"):
        open_on_gpu(SmallSource(), stored)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_vectors_are_the_same(stored: OnnxEncoder) -> None:
    encoder = open_on_gpu(SmallSource(), stored)
    encoder.warm_up()

    assert export.measure_least_cosine(stored, encoder) >= 0.999
