"""How the suite asks a gateway: one class for each.

To hold a new gateway to the suite, write a class with the methods of `Gateway` in a module beside this one, and add it
to `GATEWAYS` in `tests/serving/conformance/gateways.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Query = Mapping[str, Any]
"""The fields of `SearchRequest`; pictures are bytes. `vector` is a list, or bytes of little-endian 32-bit floats."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a query: the code of a problem, or hits and facets as REST's JSON has them.

    `total` is how many products satisfy the filters. Products of a list are its hits, and so are suggestions.
    """

    code: str | None = None
    snapshot: str | None = None
    hits: Sequence[Mapping[str, Any]] = ()
    facets: Mapping[str, Any] | None = None
    understood: Mapping[str, Any] | None = None
    total: int | None = None

    def __post_init__(self) -> None:
        """Leave `looks_like` and `colours` out where they name nothing, as JSON does."""
        if self.understood is not None:
            kept = {name: value for name, value in self.understood.items() if value or name in {"words", "unknown"}}
            object.__setattr__(self, "understood", kept)


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What came of a batch: the code of a problem, or an outcome for each query. They have no snapshot of their own."""

    code: str | None = None
    snapshot: str | None = None
    results: Sequence[Outcome] = ()


class CannotAskError(Exception):
    """A client has no way to ask this. `CANNOT_ASK` beside `GATEWAYS` names the cases, so that no other is left out."""


class Gateway(Protocol):
    """A client of one gateway of a server. `key` is sent as that gateway's clients send one, none where it is None.

    Each method may raise `CannotAskError`.
    """

    def search(self, query: Query, key: str | None) -> Outcome: ...

    def search_batch(self, queries: Sequence[Query], snapshot: str | None, key: str | None) -> BatchOutcome: ...

    def close(self) -> None: ...


@runtime_checkable
class Lister(Protocol):
    """A gateway that lists products and completes texts, too.

    `listing` has the parameters of `GET /v1/products`, `typed` those of `GET /v1/suggest`.
    """

    def list_products(self, listing: Query, key: str | None) -> Outcome: ...

    def suggest(self, typed: Query, key: str | None) -> Outcome: ...
