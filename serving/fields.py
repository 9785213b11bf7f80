"""Fields: what of a hit is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.problems import ProblemError

NAMES = ("title", "attributes", "image_url", "score")
_ATTRIBUTE = "attributes."


@dataclass(frozen=True, slots=True)
class Fields:
    """Some of `NAMES`, and the attributes to send: None for all of them."""

    names: frozenset[str]
    attributes: frozenset[str] | None

    def of(self, hit: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a hit that was asked for; its id is always there."""
        kept = {name: value for name, value in hit.items() if name == "id" or name in self.names}
        if self.attributes is not None and "attributes" in kept:
            kept["attributes"] = {name: one for name, one in kept["attributes"].items() if name in self.attributes}
        return kept


def parse_fields(texts: Sequence[str]) -> Fields | None:
    """Return which fields are named, None where none is: then all are sent. Raises `ProblemError`."""
    if not texts:
        return None
    attributes = frozenset(text.removeprefix(_ATTRIBUTE) for text in texts if text.startswith(_ATTRIBUTE))
    names = {text for text in texts if not text.startswith(_ATTRIBUTE)}
    unknown = sorted(names - {*NAMES, "id"})
    if unknown:
        known = ", ".join(NAMES)
        detail = f"There is no field {unknown[0][:100]!r} of hits; there are: id, {known} and attributes.NAME."
        raise ProblemError("bad_fields", detail)
    if "attributes" in names or not attributes:
        return Fields(frozenset(names), None)
    return Fields(frozenset({*names, "attributes"}), attributes)
