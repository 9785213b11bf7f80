"""The precision in which an encoder computes, as its name says it: `efficientnet-lite0+int8`."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "int8", "bfloat16"]
"""In what numbers a model computes: `int8` stands for convolutions only."""

_REDUCED: tuple[Precision, ...] = ("int8", "bfloat16")


def split_precision(name: str) -> tuple[str, Precision]:
    """Return the name of an encoder without the precision at its end (`+int8`, `+bfloat16`), and that precision."""
    for precision in _REDUCED:
        if name.endswith(f"+{precision}"):
            return name.removesuffix(f"+{precision}"), precision
    return name, "float32"


def with_precision(name: str, precision: Precision | None) -> str:
    """Return the name of the same encoder in a precision; None: as the name says."""
    if precision is None:
        return name
    full, _ = split_precision(name)
    return full if precision == "float32" else f"{full}+{precision}"
