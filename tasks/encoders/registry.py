"""Find an encoder by name: installed plug-ins, torchvision's models, or any class that can be imported."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from data.errors import EncoderError
from tasks.encoders.base import EncoderSource

GROUP = "lookalike.encoders"
"""The entry point group in which packages declare their encoders: name = "module:Class"."""

_TORCHVISION = "torchvision:"
# Not listed: it exists so that tests and dry runs need no model.
_HIDDEN = {"fake": "tasks.encoders.fake:FakeEncoder"}


def available() -> list[str]:
    """The names that `source` knows, sorted; `torchvision:MODEL` stands for all models of torchvision."""
    return [*sorted(_installed()), f"{_TORCHVISION}MODEL"]


def source(name: str) -> EncoderSource:
    """Find the source of an encoder.

    `name` is that of an installed encoder (`efficientnet-lite0`), `torchvision:MODEL` with torchvision's own
    weights, `torchvision:MODEL@FILE` with a state dict from a path or URL (`s3://…`), or `module:Class`.
    Raises `EncoderError`, saying which exist, if there is none of this name.
    """
    if name.startswith(_TORCHVISION):
        model, _, weights = name.removeprefix(_TORCHVISION).partition("@")
        return _torchvision(model, weights or None)
    installed = _installed()
    if name in installed:
        return _make(name, installed[name].value)
    if name in _HIDDEN:
        return _make(name, _HIDDEN[name])
    if ":" in name:
        return _make(name, name)
    raise EncoderError(f"no encoder named {name!r}; there are {', '.join(available())}, and module:Class")


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _torchvision(model: str, weights: str | None) -> EncoderSource:
    try:
        from tasks.encoders.torchvision_models import TorchvisionEncoder  # noqa: PLC0415  # needs torch
    except ImportError as error:
        raise EncoderError(f"torchvision models need the `batch` extra: {error}") from error
    encoder: EncoderSource = TorchvisionEncoder(model, weights)
    return encoder


def _make(name: str, value: str) -> EncoderSource:
    module, _, attribute = value.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise EncoderError(f"encoder {name!r} cannot be loaded from {value!r}: {error}") from error
    if not all(hasattr(made, member) for member in ("name", "fingerprint", "export")):
        raise EncoderError(f"encoder {name!r}: {value!r} is not an EncoderSource")
    return cast("EncoderSource", made)
