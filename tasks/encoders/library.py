"""Encoders whose network comes from a library of models, with the library's own weights or with a file of weights.

Here is the common part of torchvision's, timm's and open_clip's. Files are checked against their digest, and loaded
without running code from them.
"""

from __future__ import annotations

import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import fsspec
import safetensors.torch
import torch
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import EXPORT_VERSION, EncoderSpec, fingerprint
from lookalike.tasks.encoders.export import FromPixels
from lookalike.tasks.images.preprocessing import Preprocessing

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")

State = Mapping[str, Tensor]

_DIGEST = re.compile(r"#sha256=(.*)$", re.IGNORECASE)
_HEX_DIGITS = re.compile(r"[0-9a-f]{64}")
_REMOTE = re.compile(r"^(?!file:|local:)[a-z][a-z0-9+.-]*:(?://|:)", re.IGNORECASE)
_NOT_ALLOWED = re.compile(r"GLOBAL (\S+) was not an allowed global")  # torch's message where loading would run code
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PARALLEL_PREFIX = "module."
_VERSIONS = "_metadata"  # an attribute that only torch's own state dicts have
_COUNTERS = ".num_batches_tracked"  # counters of training; no vector depends on them
_SAFETENSORS_HEADER = slice(8, 9)  # behind its length, in eight bytes, the header is a JSON object


@dataclass(frozen=True, slots=True)
class Look:
    """How a network wants its pictures: fitted, then normalised by `mean` and `std` of channel values of 0 to 1."""

    preprocessing: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]


def make_look(size: int, interpolation: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Look:
    """Return how a library's weights want their pictures, but without cropping.

    The edge of a product picture shows a part of the product. Interpolations that are not in INTERPOLATIONS become
    bilinear.
    """
    known = interpolation if interpolation in INTERPOLATIONS else "bilinear"
    fit = Preprocessing.model_validate({"size": size, "interpolation": known})
    return Look(fit, tuple(mean), tuple(std))


class LibraryEncoder(ABC):
    """Source of `FAMILY:MODEL` with the library's own weights, and of `FAMILY:MODEL@FILE` with a state dict.

    The vector is the input of the layer that names classes, so a file of weights may be trained for any number of
    classes.
    """

    family: ClassVar[str]
    pooling: ClassVar[str]

    def __init__(self, model: str, weights: str | None = None) -> None:
        self.model = model
        self.weights = WeightsFile(weights) if weights else None

    @property
    def name(self) -> str:
        """The name under which the registry finds it."""
        return f"{self.family}:{self.model}" + (f"@{self.weights.reference}" if self.weights else "")

    def fingerprint(self) -> str:
        """Return sixteen hex digits over the weights and how they are used. Raises `EncoderError`."""
        return fingerprint(
            weights=self.weights.digest() if self.weights else self.own_weights(),
            preprocessing=self.look().preprocessing,
            pooling=self.pooling,
            version=EXPORT_VERSION,
            model=self.model,
            **self.departures(),
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        fit = self.look().preprocessing
        model = self.network()
        spec = EncoderSpec(
            name=f"{self.family}:{self.model}",
            fingerprint=self.fingerprint(),
            dimension=_measure_dimension(model.backbone, fit.size, self.name),
            preprocessing=fit,
            pooling=self.pooling,
            licence=None if self.weights else self.licence(),
        )
        export.export(model, spec, directory)
        return spec

    def network(self) -> FromPixels:
        """Return the network to export: uint8 (n, size, size, 3) to float32 (n, d). Raises `EncoderError`."""
        shown = self.look()
        return FromPixels(self.backbone(), shown.mean, shown.std)

    def departures(self) -> dict[str, Any]:
        """Return in what the network departs from the model that its name means; part of the fingerprint."""
        return {}

    def licence(self) -> str | None:
        """Return the licence of the library's own weights, None where the library names none."""
        return None

    @abstractmethod
    def own_weights(self) -> str:
        """Return a text that changes when the library's own weights do. Raises `EncoderError`."""

    @abstractmethod
    def look(self) -> Look:
        """Return how the network wants its pictures; must be cheap. Raises `EncoderError`."""

    @abstractmethod
    def backbone(self) -> nn.Module:
        """Return the network with its weights: float32 (n, 3, size, size) to (n, d). Raises `EncoderError`."""


def _measure_dimension(backbone: nn.Module, size: int, name: str) -> int:
    """Return the length of the vectors. Raises `EncoderError` for a network that gives maps or tokens instead."""
    with torch.inference_mode():
        found = backbone.eval()(torch.zeros(1, 3, size, size))
    shape = tuple(found.shape[1:]) if isinstance(found, Tensor) else ()
    if not shape or any(side != 1 for side in shape[1:]):
        gives = " by ".join(map(str, shape)) or type(found).__name__
        raise EncoderError(f"{name} gives no vector for a picture, but {gives}: choose a model that pools what it sees")
    return shape[0]


class WeightsFile:
    """A state dict at a path or a URL, as safetensors or as torch saves it; `s3://…#sha256=…` for one in S3.

    Raises `EncoderError` for a digest of another form, and for a URL without one: whoever may write there could change
    the encoder unnoticed.
    """

    def __init__(self, reference: str) -> None:
        found = _DIGEST.search(reference)
        self.reference = reference
        self._origin = reference[: found.start()] if found else reference
        self._expected = found[1].lower() if found else None
        if self._expected is not None and not _HEX_DIGITS.fullmatch(self._expected):
            raise EncoderError(
                f"the sha256 of weights {self._origin!r} has {len(self._expected)} characters: "
                f"it is 64 hex digits, as `sha256sum` prints it, not {self._expected!r}"
            )
        if self._expected is None and _REMOTE.match(self._origin):
            raise EncoderError(f"weights at a URL need their digest: {self._origin}#sha256=…, as `sha256sum` prints it")

    def digest(self) -> str:
        """Return the sha256 in hex digits; the file is read only where the reference has no digest.

        Raises `EncoderError`.
        """
        return self._expected or hashlib.sha256(self._bytes).hexdigest()

    def state(self) -> State:
        """Read the tensors by name. Raises `EncoderError` for another digest, and for a file that is no state dict."""
        data = self._bytes
        try:
            state = _load(data)
        except Exception as error:  # neither torch.load nor safetensors has an error of its own for this
            raise EncoderError(
                f"{self._origin!r} is not a file of weights that can be loaded safely: {_explain(error)}"
            ) from error
        for wrapper in _WRAPPERS:
            if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
                state = state[wrapper]
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise EncoderError(f"{self._origin!r} does not hold a state dict")
        return rename_keys(state, lambda name: name.removeprefix(_PARALLEL_PREFIX))

    @cached_property
    def _bytes(self) -> bytes:
        try:
            with fsspec.open(self._origin, "rb") as file:
                data = cast("bytes", file.read())
        except Exception as error:  # each file system raises what its own library raises
            raise EncoderError(f"weights {self._origin!r} cannot be read: {error}") from error
        if self._expected not in {None, found := hashlib.sha256(data).hexdigest()}:
            raise EncoderError(f"weights {self._origin!r} have the sha256 {found}, not {self._expected}")
        return data


def rename_keys(state: State, rename: Callable[[str], str]) -> State:
    """Return a state dict with renamed keys. The version of each layer, which torch keeps beside the tensors, stays."""
    found = OrderedDict((rename(name), value) for name, value in state.items())
    versions = getattr(state, _VERSIONS, None)
    if versions is not None:
        setattr(found, _VERSIONS, {rename(f"{layer}.")[:-1]: version for layer, version in versions.items()})
    return found


def fill(network: nn.Module, state: State, name: str, *, optional: tuple[str, ...] = ()) -> None:
    """Load weights into a network; those of a head that was cut off, or of other parts, are left out.

    Raises `EncoderError` where a weight has another shape, is missing, or has no place in a part that the network has.
    Names that begin with one of `optional` may be missing or left out.
    """
    # set for the network as a whole only: layers tell by their names what an old file holds
    if not hasattr(state, _VERSIONS):
        state = rename_keys(state, str)
        setattr(state, _VERSIONS, {"": {"version": network._version}})
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:
        raise EncoderError(f"the weights do not fit {name}: {error}") from error
    if missing := [key for key in missing if not key.startswith(optional) and not key.endswith(_COUNTERS)]:
        raise EncoderError(f"the weights do not fit {name}: no {', '.join(missing[:3])}, …")
    if left := [key for key in unexpected if not key.startswith(optional) and _has_no_place(network, key)]:
        raise EncoderError(
            f"the weights are of another model than {name}, which has no place for {len(left)} of them: "
            f"{', '.join(left[:3])}, …"
        )


def _has_no_place(network: nn.Module, key: str) -> bool:
    """Tell whether a weight belongs to a part that the network has, and does not fit there.

    ResNet-18 has `layer1`, but no third block in it as ResNet-34 has: to leave that out would give another network.
    A head that was replaced by the identity, a part that is not there at all, and what old files keep of masks, is left
    out.
    """
    *path, weight = key.split(".")
    module = network
    for depth, name in enumerate(path):
        child = getattr(module, name, None)
        if not isinstance(child, nn.Module):
            return depth > 0 and not isinstance(module, nn.Identity)
        module = child
    return weight in {"weight", "bias"} and not isinstance(module, nn.Identity)


def compute_digest(network: nn.Module) -> str:
    """Return the sha256 over all weights of a network, in hex digits: for weights that come without a file."""
    found = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        found.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _load(data: bytes) -> Any:
    if data[_SAFETENSORS_HEADER] == b"{":
        return safetensors.torch.load(data)
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _explain(error: Exception) -> str:
    """Say what is wrong with a file. Torch's own message advises to load unsafely, and has colour codes."""
    if found := _NOT_ALLOWED.search(str(error)):
        return f"it holds {found[1]}, and only tensors are loaded; save its state dict alone, as safetensors"
    if "weights_only" in str(error) or not str(error):
        return "it is damaged, or something else than a state dict; save one alone, as safetensors"
    return str(error)
