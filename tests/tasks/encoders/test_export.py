"""An export that does not compute what torch does is refused, on real pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.preprocessing import Preprocessing

pytestmark = pytest.mark.slow  # torch takes ten seconds to import

SPEC = EncoderSpec(
    name="small", fingerprint="0" * 16, dimension=16, preprocessing=Preprocessing(size=64), pooling="gem3"
)


class Small(nn.Module):
    """Two layers, as deep as it must be to export in a moment."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 5, stride=2), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU())
        self.pool = export.Gem()

    def forward(self, planes: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.layers(planes))
        return pooled


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return export.FromPixels(Small(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()


@pytest.fixture(scope="module")
def exported(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("export")
    export.export(model, SPEC, folder)
    return (folder / MODEL_FILE).read_bytes()


def test_the_pictures_are_real() -> None:
    sizes = [decode(picture).size for picture in export.read_pictures()]

    assert len(sizes) == 6
    assert all(max(size) >= 237 for size in sizes)
    assert {picture[:4] for picture in export.read_pictures()} == {b"\xff\xd8\xff\xe0", b"\x89PNG"}


def test_a_good_export_passes(model: nn.Module, exported: bytes, tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(exported)

    assert export.check_parity(model, tmp_path / MODEL_FILE, SPEC) > 0.99999


def largest(graph: onnx.GraphProto) -> onnx.TensorProto:
    tensors: list[onnx.TensorProto] = list(graph.initializer)
    return max(tensors, key=lambda tensor: numpy_helper.to_array(tensor).size)


def one_channel_lost(weights: np.ndarray) -> np.ndarray:
    weights[:, :4] = 0
    return weights


def transposed(weights: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(weights[::-1])


def three_bits(weights: np.ndarray) -> np.ndarray:
    step = np.abs(weights).max() / 3
    return np.asarray(np.round(weights / step) * step, dtype=np.float32)


def not_finite(weights: np.ndarray) -> np.ndarray:
    return np.full_like(weights, np.nan)


@pytest.mark.parametrize("damage", [one_channel_lost, transposed, three_bits, not_finite])
def test_a_bad_export_is_refused(
    model: nn.Module, exported: bytes, tmp_path: Path, damage: Callable[[np.ndarray], np.ndarray]
) -> None:
    changed = onnx.load_from_string(exported)
    tensor = largest(changed.graph)
    tensor.CopyFrom(numpy_helper.from_array(damage(numpy_helper.to_array(tensor).copy()), tensor.name))
    onnx.save(changed, tmp_path / MODEL_FILE)

    with pytest.raises(EncoderError, match="differs from torch"):
        export.check_parity(model, tmp_path / MODEL_FILE, SPEC)


def test_another_normalisation_is_refused(exported: bytes, tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(exported)
    other = export.FromPixels(Small(), (0.0,) * 3, (1.0,) * 3)

    with pytest.raises(EncoderError, match="differs from torch"):
        export.check_parity(other, tmp_path / MODEL_FILE, SPEC)


def test_a_network_that_is_another_one_while_it_is_exported_is_refused(tmp_path: Path) -> None:
    class TwoFaced(Small):
        def forward(self, planes: Tensor) -> Tensor:
            return super().forward(planes.flip(1) if torch.compiler.is_exporting() else planes)

    with pytest.raises(EncoderError, match="differs from torch"):
        export.export(export.FromPixels(TwoFaced(), (0.5,) * 3, (0.5,) * 3), SPEC, tmp_path)


def test_a_batch_size_that_is_frozen_into_the_graph_is_refused(
    model: nn.Module, exported: bytes, tmp_path: Path
) -> None:
    frozen = onnx.load_from_string(exported)
    frozen.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(frozen, tmp_path / MODEL_FILE)

    with pytest.raises(EncoderError, match="only takes batches of 1"):
        export.check_parity(model, tmp_path / MODEL_FILE, SPEC)
