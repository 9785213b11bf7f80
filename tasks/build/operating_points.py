"""Operating points: what a kind of index reached on a sample of a catalogue, and by which effort."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lookalike.tasks.build.index_kinds import Kind


class OperatingPoint(BaseModel):
    """A kind of index, tuned to a recall on a sample.

    Attributes:
        kind: of index.
        sample: how many vectors there were.
        recall: recall@10 of queries that are not among them.
        query_ms: milliseconds of one query, alone, on one core.
        bytes_per_vector: what an index grows by with each vector, in the memory of a server.
        parameters: the effort that it took, for people.
        compared: with how many vectors a query was compared, centroids among them.
        compared_in_all: the same for an index of the whole catalogue; None where that follows from its size.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    sample: int = Field(ge=1)
    recall: float
    query_ms: float = Field(gt=0)
    bytes_per_vector: float = Field(gt=0)
    parameters: str
    compared: float = Field(gt=0)
    compared_in_all: float | None = None


class OperatingPoints(BaseModel):
    """The operating points of one catalogue, as they are kept in the store."""

    model_config = ConfigDict(frozen=True)

    points: tuple[OperatingPoint, ...] = Field(min_length=1)
