"""The manifest: what a snapshot is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.documents import Sealed


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class CatalogueSection(_Section):
    """Which catalogue was indexed: its id in the store, where it came from, and whom its pictures are owed to."""

    id: str = Field(pattern=r"^[0-9a-z]{1,64}$")
    uri: str
    products: int = Field(ge=1)
    attribution: str = ""


class EncoderSection(_Section):
    """The encoder that made the vectors: `spec` is JSON, `model` is ONNX; `dimension` is that of its vectors."""

    name: str
    fingerprint: str
    dimension: int = Field(ge=1)
    spec: Blob
    model: Blob

    def is_same(self, other: EncoderSection) -> bool:
        """Tell whether both encode alike, whatever they are called: a name says where weights lay at the time."""
        return (self.fingerprint, self.spec, self.model) == (other.fingerprint, other.spec, other.model)


class IndexSection(_Section):
    """How vectors become hits.

    Attributes:
        key: FAISS factory string of every shard.
        dimension: of the indexed vectors, after the projection.
        projection: a `.npy` float32 matrix (dimension, encoder dimension + 1), the last column the offset;
            without one, the encoder's vectors are indexed as they are.
        trained: the empty trained index that every shard began as, where the index type needs training.
        trained_on: how many products there were when projection and index were trained.
        nprobe: inverted lists to visit, where the index has such.
        ef_search: candidates to keep on a walk through the graph, where the index is one.
        k_factor: candidates to rank again for each result, where the index holds short codes beside finer ones.
        reason: why the planner chose this.
    """

    key: str
    dimension: int = Field(ge=1)
    metric: Literal["inner_product"] = "inner_product"
    projection: Blob | None = None
    trained: Blob | None = None
    trained_on: int = Field(ge=1)
    nprobe: int | None = Field(default=None, ge=1)
    ef_search: int | None = Field(default=None, ge=1)
    k_factor: int | None = Field(default=None, ge=1)
    reason: str

    def served(self) -> dict[str, Any]:
        """Return what answers depend on; what format 2 did not know only where it is set, as hashes must not change."""
        later = {name for name in ("ef_search", "k_factor") if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude={"reason", *later})


class ShardSection(_Section):
    """One shard: a FAISS index, and the Parquet rows of the same products in the same order.

    Attributes:
        count: rows, those that are dead included.
        tombstones: the rows that a refresh took out, as a `.npy` (`lookalike.data.snapshots.tombstones`); none where
            all are alive.
        dead: how many those are.
        delta: whether a refresh made this shard, on top of those of the last full build.
    """

    index: Blob
    products: Blob
    count: int = Field(ge=1)
    tombstones: Blob | None = None
    dead: int = Field(default=0, ge=0)
    delta: bool = False

    @property
    def alive(self) -> int:
        """How many of its products can be found."""
        return self.count - self.dead


class DuplicatesSection(_Section):
    """Groups of near-duplicates among the pictures of the last full build.

    Attributes:
        groups: which picture is in which group (`lookalike.data.snapshots.duplicates`).
        threshold: the cosine similarity, in the index's space, from which two pictures were put together.
        count: how many groups there are, `largest` how many pictures the largest has.
        pictures, products: how many are in groups.
    """

    groups: Blob
    threshold: float = Field(gt=0, le=1)
    count: int = Field(ge=1)
    largest: int = Field(ge=2)
    pictures: int = Field(ge=2)
    products: int = Field(ge=2)


class Manifest(Sealed):
    """What a snapshot is made of.

    Attributes:
        content: the sha256 of everything that answers depend on.
        refused: the limits that it did not reach, for which it was not published.
        duplicates: near-duplicates; none where there are none, or nobody looked. No part of `content`: whoever does
            not ask for it gets the same answers, and readers that do not know it pass over it.
    """

    id: str = Field(pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")
    content: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: AwareDatetime
    code_version: str
    run: str
    parent: str | None
    catalogue: CatalogueSection
    encoder: EncoderSection
    index: IndexSection
    shards: tuple[ShardSection, ...] = Field(min_length=1)
    quality: dict[str, FiniteFloat]
    refused: tuple[str, ...] = ()
    duplicates: DuplicatesSection | None = None

    @classmethod
    def of(
        cls,
        catalogue: CatalogueSection,
        encoder: EncoderSection,
        index: IndexSection,
        shards: Sequence[ShardSection],
        *,
        created_at: datetime,
        code_version: str,
        run: str,
        parent: str | None = None,
        quality: Mapping[str, float] | None = None,
        duplicates: DuplicatesSection | None = None,
    ) -> Manifest:
        """Return the manifest of these parts, with the id, the content hash and the format that follow from them."""
        content = content_hash(catalogue, encoder, index, tuple(shards))
        return cls(
            format=format_of(index, tuple(shards)),
            id=snapshot_id(created_at, content),
            content=content,
            created_at=created_at,
            code_version=code_version,
            run=run,
            parent=parent,
            catalogue=catalogue,
            encoder=encoder,
            index=index,
            shards=tuple(shards),
            quality=dict(quality or {}),
            duplicates=duplicates,
        )

    @property
    def products(self) -> int:
        """How many products can be found."""
        return sum(shard.alive for shard in self.shards)

    def blobs(self) -> tuple[Blob, ...]:
        """Return every blob that a reader of this snapshot needs."""
        return tuple(self.named_blobs().values())

    def named_blobs(self) -> dict[str, Blob]:
        """Return the same under names for people."""
        own = {"the encoder's spec": self.encoder.spec, "the encoder's model": self.encoder.model}
        shared = {"the projection": self.index.projection, "the trained index": self.index.trained}
        own |= {name: blob for name, blob in shared.items() if blob}
        if self.duplicates:
            own["the groups of near-duplicates"] = self.duplicates.groups
        for number, shard in enumerate(self.shards):
            own[f"the index of shard {number}"] = shard.index
            own[f"the products of shard {number}"] = shard.products
            if shard.tombstones:
                own[f"the tombstones of shard {number}"] = shard.tombstones
        return own

    def needs(self) -> tuple[str, ...]:
        """Return the keys and folders (ending in `/`) in the store that this snapshot is complete with."""
        blobs = dict.fromkeys(blob.key for blob in self.blobs())
        return (*blobs, f"catalogues/{self.catalogue.id}/", f"snapshots/{self.id}/")


def content_hash(
    catalogue: CatalogueSection,
    encoder: EncoderSection,
    index: IndexSection,
    shards: tuple[ShardSection, ...],
) -> str:
    """Return the sha256 of what answers depend on: equal for two builds that answer alike."""
    served = {
        "attribution": catalogue.attribution,
        "encoder": encoder.model_dump(mode="json"),
        "index": index.served(),
        # what a shard has not is not counted: a snapshot without tombstones hashes as it did before there were any
        "shards": [shard.model_dump(mode="json", exclude_defaults=True) for shard in shards],
    }
    return hashlib.sha256(json.dumps(served, sort_keys=True).encode()).hexdigest()


def snapshot_id(created_at: datetime, content: str) -> str:
    """Return an id that sorts by time (UTC) and says its content."""
    return f"{created_at:%Y%m%dT%H%M%SZ}-{content[:8]}"


def format_of(index: IndexSection, shards: tuple[ShardSection, ...]) -> int:
    """Return the format version that a manifest of these is written in.

    Readers of 1 ignore tombstones, those of 2 cannot search graphs, nor rank candidates again.
    """
    if index.ef_search or index.k_factor:
        return 3
    return 2 if any(shard.tombstones for shard in shards) else 1


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Return the manifest in `data`. Raises `UnsupportedFormatError`, `CorruptError` naming `name`."""
    manifest = Manifest.from_json(data, name)
    expected = content_hash(manifest.catalogue, manifest.encoder, manifest.index, manifest.shards)
    if manifest.content != expected:
        raise CorruptError(f"{name} is damaged: its content hash does not match what it lists")
    return manifest
