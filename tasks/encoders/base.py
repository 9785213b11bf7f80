"""What an encoder is: its description, its fingerprint, and the steps that turn pictures into vectors.

The steps are the same in batch work and in queries. The fingerprint names an encoder by its content, so that vectors of
two encoders are never taken for each other's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike.tasks.encoders.precision.names import Precision
from lookalike.tasks.images.decode import DEFAULT_LIMITS, ImageLimits
from lookalike.tasks.images.preprocessing import Preprocessing, prepare

MODEL_FILE = "model.onnx"
"""The name of the file that `EncoderSource.export` writes."""

FINGERPRINT_DIGITS = 16

EXPORT_VERSION = "export-1"
"""Part of every exported encoder's fingerprint: a change to the export that changes vectors is a new version."""


class EncoderSpec(BaseModel):
    """Everything besides the ONNX file that is needed to encode a query as the catalogue was encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Equal fingerprints mean comparable vectors."""
    dimension: Annotated[int, Field(ge=1)]
    """Length of the vectors."""
    modality: Literal["image"] = "image"
    preprocessing: Preprocessing
    pooling: str
    """How feature maps become a vector; for people only, since the model file contains it."""
    input_name: str = "images"
    """Name of the input tensor, uint8 (n, size, size, 3)."""
    output_name: str = "vectors"
    """Name of the output tensor, float32 (n, dimension)."""
    licence: str | None = None
    """Licence of the weights, where it is known."""
    precision: Annotated[Precision, Field(exclude_if=lambda precision: precision == "float32")] = "float32"
    """Not written where it is float32: readers before it know nothing else, and refuse what they do not know."""


class Encoder(Protocol):
    """Pictures to vectors, in three steps that can overlap: `prepare` (CPU), `infer` (device), `finish` (CPU)."""

    @property
    def spec(self) -> EncoderSpec:
        """The description of this encoder."""

    @property
    def batch_size(self) -> int:
        """How many pictures a batch should have."""

    def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
        """Decode and fit one picture: uint8 (size, size, 3). Raises `ImageRejectedError`. Safe in many threads."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model: uint8 (n, size, size, 3) to float32 (n, dimension), n at least 1."""

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale float32 (n, dimension) to length 1. A vector without a direction becomes all zeros, never NaN."""

    def warm_up(self) -> None:
        """Make the first real call as fast as later ones."""


class SpecEncoder:
    """The steps that encoders with a spec share: `prepare` and `finish`."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._spec = spec

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
        """Decode and fit one picture: uint8 (size, size, 3). Raises `ImageRejectedError`."""
        return prepare(self._spec.preprocessing, image, limits)

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale float32 (n, dimension) to length 1. A vector without a direction becomes all zeros, never NaN."""
        return scale_to_unit_length(raw)


class EncoderSource(Protocol):
    """Where an encoder comes from: exports the model that a snapshot carries; used where torch is installed."""

    @property
    def name(self) -> str:
        """The name under which the registry finds it."""

    def fingerprint(self) -> str:
        """Sixteen hex digits over weights, preprocessing, pooling and export version; cheap, without an export."""

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""


def scale_to_unit_length(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """L2-normalise rows of float32 (n, d). Rows that are zero or not finite become zeros."""
    rows = np.where(np.isfinite(raw).all(axis=1, keepdims=True), raw, np.float32(0.0))
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0.0, largest, np.float32(1.0))  # first of all, so that squares cannot overflow
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0.0, lengths, np.float32(1.0)), dtype=np.float32)


def encode(encoder: Encoder, images: Iterable[bytes]) -> NDArray[np.float32]:
    """Encode a few pictures in one batch: unit vectors, float32 (n, dimension).

    Raises `ImageRejectedError` for the first picture that cannot be used.
    """
    prepared = [encoder.prepare(image) for image in images]
    if not prepared:
        return np.empty((0, encoder.spec.dimension), dtype=np.float32)
    return encoder.finish(encoder.infer(np.stack(prepared)))


def fingerprint(*, weights: str, preprocessing: Preprocessing, pooling: str, version: str, **more: Any) -> str:
    """Sixteen hex digits over all that decides the vectors.

    `weights` is a digest of the weights, `version` names the code that turns them into a model, and `more`
    is anything else (JSON) that the vectors depend on.
    """
    parts = {
        "weights": weights,
        "preprocessing": preprocessing.identity(),
        "pooling": pooling,
        "version": version,
        **more,
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:FINGERPRINT_DIGITS]
