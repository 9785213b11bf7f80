"""Find an encoder by name: built in, from another package, from a library of models, or any class."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, cast

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import EncoderSource
from lookalike.tasks.encoders.entry_points import Origin, choose_only, find_declared, make_source
from lookalike.tasks.encoders.precision.names import split_precision

GROUP = "lookalike.encoders"
"""The entry point group in which packages declare their encoders: name = "module:Class"."""

# imported only when needed, as it leads to torch: servers find encoders, too
_REDUCED = "lookalike.tasks.encoders.precision.source"

# not listed: it is for tests and dry runs without a model
_HIDDEN = {"fake": "lookalike.tasks.encoders.fake:FakeEncoder"}


@dataclass(frozen=True, slots=True)
class Family:
    """A library of models: its encoders are `NAME:MODEL` and `NAME:MODEL@WEIGHTS`."""

    module: str
    """Has the class and a function `list_models`; imported only when needed."""
    attribute: str
    extra: str
    """The extra to install for it."""


FAMILIES = {
    "torchvision": Family("lookalike.tasks.encoders.torchvision_models", "TorchvisionEncoder", "batch"),
    "timm": Family("lookalike.tasks.encoders.timm_models", "TimmEncoder", "timm"),
    "openclip": Family("lookalike.tasks.encoders.openclip_models", "OpenClipEncoder", "openclip"),
}
"""The families by the first part of their encoders' names."""


def list_encoders() -> list[str]:
    """Return the names that `find_source` knows, sorted; `torchvision:MODEL` stands for all models of torchvision."""
    return [*sorted(find_declared(GROUP)), *(f"{family}:MODEL" for family in FAMILIES)]


def list_models(family: str) -> list[str]:
    """Return the names of a family's encoders with the library's own weights. Raises `EncoderError`."""
    if family not in FAMILIES:
        raise EncoderError(f"no family of encoders is named {family!r}; there are {', '.join(FAMILIES)}")
    return [f"{family}:{model}" for model in _import_family(family).list_models()]


def find_source(name: str) -> EncoderSource:
    """Find the source of an encoder.

    `name` is that of an installed encoder (`efficientnet-lite0`), `FAMILY:MODEL` with the library's own weights,
    `FAMILY:MODEL@WEIGHTS` with a state dict from a path or from `s3://…#sha256=…`, or `module:Class`. With `+int8`
    or `+bfloat16` behind its name, it computes in these numbers.
    Raises `EncoderError`, saying which exist, if there is none of this name.
    """
    full, precision = split_precision(name)
    if precision != "float32":
        return cast("EncoderSource", importlib.import_module(_REDUCED).ReducedSource(find_source(full), precision))
    family, separator, rest = name.partition(":")
    if separator and family in FAMILIES:
        model, _, weights = rest.partition("@")
        found: EncoderSource = getattr(_import_family(family), FAMILIES[family].attribute)(model, weights or None)
        return found
    return cast("EncoderSource", make_source(name, find_origin(name).value, "an EncoderSource"))


def name_found_again(name: str, source: EncoderSource) -> str:
    """Return the name by which later runs and other machines find an encoder that was found by `name`.

    A family says it itself: where weights are, absolutely. The class of others may call itself as it likes.
    """
    return source.name if name.partition(":")[0] in FAMILIES else name


def find_origin(name: str) -> Origin:
    """Return where the code of an encoder is, without running it. Raises `EncoderError` if there is no such encoder."""
    name, _ = split_precision(name)
    family, separator, _ = name.partition(":")
    if separator and family in FAMILIES:
        return Origin(f"{FAMILIES[family].module}:{FAMILIES[family].attribute}")
    if points := find_declared(GROUP).get(name):
        return choose_only(name, points)
    if name in _HIDDEN:
        return Origin(_HIDDEN[name])
    if separator:
        return Origin(name)
    raise EncoderError(f"no encoder named {name!r}; there are {', '.join(list_encoders())}, and module:Class")


def _import_family(family: str) -> Any:
    extra = FAMILIES[family].extra
    try:
        return importlib.import_module(FAMILIES[family].module)
    except ImportError as error:
        raise EncoderError(f"models of {family} need the `{extra}` extra: {error}") from error
