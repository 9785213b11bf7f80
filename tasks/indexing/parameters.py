"""Search parameters: how hard a search tries, which is what recall is bought with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """Those that the index type has; the others are None.

    Attributes:
        nprobe: inverted lists to visit.
        ef_search: candidates that a walk through a graph keeps.
        k_factor: for each result wanted, how many candidates in compressed form are ranked again by their vectors.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    k_factor: int | None = None

    def __str__(self) -> str:
        named = {"nprobe": self.nprobe, "ef_search": self.ef_search, "k_factor": self.k_factor}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "exact"
