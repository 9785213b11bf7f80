"""Encoders that packages declare by entry points: found by name, and made from their classes."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lookalike.data.errors import EncoderError

_MEMBERS = ("name", "fingerprint", "export")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an encoder's code is: `value` is `module:Class`; `package` is the one that declares it, if any."""

    value: str
    package: str | None = None


def find_declared(group: str) -> dict[str, list[EntryPoint]]:
    """Return the entry points of a group, by name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def choose_only(name: str, points: Iterable[EntryPoint]) -> Origin:
    """Return the only origin of a name. Raises `EncoderError` for several: chance would decide which one is used.

    One installation may be found twice.
    """
    origins = {point.value: Origin(point.value, _name_package(point)) for point in points}
    if len(origins) > 1:
        claims = ", ".join(sorted(f"{one.package} ({one.value})" for one in origins.values()))
        raise EncoderError(f"several packages have an encoder named {name!r}: {claims}; uninstall all but one")
    return next(iter(origins.values()))


def make_source(name: str, value: str, protocol: str) -> Any:
    """Make the source of an encoder; `value` is `module:Class`. Raises `EncoderError` where it is no `protocol`."""
    module, _, attribute = value.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # somebody else's code may raise anything
        why = f"{type(error).__name__}: {error}"
        raise EncoderError(f"encoder {name!r} cannot be loaded from {value!r}: {why}") from error
    if not all(hasattr(made, member) for member in _MEMBERS):
        raise EncoderError(f"encoder {name!r}: {value!r} is not {protocol}")
    return made


def _name_package(point: EntryPoint) -> str | None:
    return f"{point.dist.name} {point.dist.version}" if point.dist else None
