"""Snapshots of real size: a real encoder, and clustered vectors instead of embedded pictures."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
)
from lookalike.data.snapshots.store import read_manifest, write_manifest
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build.shard import write_shard
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.search.projection import Projection, normalise
from tests.benchmarks.serving.peers import engine

DIMENSION = 256
CENTRES = 4096
NPROBE = 16
TRAINED_ON = 65_536
ENCODER = "efficientnet-lite0"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """How many products each shard has, in how many shards."""

    products: int
    shards: int

    @property
    def key(self) -> str:
        """The FAISS factory string of a shard: what the planner chose for as many when this was written."""
        return "IVF1024,SQ8" if self.products <= 100_000 else "IVF2048,SQ8"


class Shop:
    """A store with snapshots that differ in every vector; each product's attribute `generation` says which it is of."""

    def __init__(self, folder: Path, size: Size, encoder: str = ENCODER) -> None:
        self.folder = folder
        self.store: ObjectStore = open_store(str(folder / "store"))
        self.size = size
        self.channel = Channel(self.store)
        self._encoder = self._export(encoder)
        self._projection = _random_rotation(self._encoder.dimension)
        self._trained = self._train()

    def make(self, generation: int) -> Manifest:
        """Make a snapshot, unpublished."""
        shards = tuple(self._shard(generation, shard) for shard in range(self.size.shards))
        index = IndexSection(
            key=self.size.key,
            dimension=DIMENSION,
            trained=blobs.put_bytes(self.store, faiss.serialize_index(self._trained).tobytes()),
            trained_on=TRAINED_ON,
            nprobe=NPROBE,
            reason="made for a benchmark",
        )
        matrix = blobs.put_bytes(self.store, self._projection.to_bytes())
        space = SpaceSection.of(self._encoder, matrix, index)
        products = self.size.products * self.size.shards
        catalogue = CatalogueSection(id=f"g{generation}", uri="made", products=products)
        manifest = Manifest.of(
            *(catalogue, space, shards),
            created_at=datetime.now(UTC),
            code_version="0",
            run="benchmark",
            quality={"recall_at_10": 1.0},
        )
        return write_manifest(self.store, manifest)

    def published(self) -> Manifest:
        """Return the snapshot that the channel points at."""
        return read_manifest(self.store, self.channel.current().snapshot)

    def publish(self, manifest: Manifest) -> None:
        """Point the channel at a snapshot."""
        self.channel.move(manifest.id, after=self.channel.latest(), reason="a benchmark", actor="benchmark")

    def write_engine(self, manifest: Manifest, folder: Path) -> None:
        """Write what the peers read: the same model, index and products as a snapshot of one shard has."""
        (shard,) = manifest.shards
        files = {
            engine.MODEL: manifest.encoder.model,
            engine.SPEC: manifest.encoder.spec,
            engine.INDEX: shard.index,
            engine.PROJECTION: manifest.projection,
        }
        folder.mkdir()
        for name, blob in files.items():
            if blob is not None:
                (folder / name).write_bytes(blobs.read(self.store, blob))
        index = faiss.read_index(str(folder / engine.INDEX))
        index.nprobe = NPROBE
        faiss.write_index(index, str(folder / engine.INDEX))
        rows = _products(0, 0, shard.count).select(["id", "title", "attributes"]).to_pylist()
        (folder / engine.PRODUCTS).write_text(json.dumps(rows))

    def _export(self, name: str) -> EncoderSection:
        with tempfile.TemporaryDirectory() as scratch:
            spec = find_source(name).export(Path(scratch))
            return EncoderSection(
                name=spec.name,
                fingerprint=spec.fingerprint,
                dimension=spec.dimension,
                spec=blobs.put_bytes(self.store, spec.model_dump_json().encode()),
                model=blobs.put_file(self.store, Path(scratch) / MODEL_FILE),
            )

    def _train(self) -> Any:
        index = faiss.index_factory(DIMENSION, self.size.key, faiss.METRIC_INNER_PRODUCT)
        index.train(_vectors(seed=0, count=TRAINED_ON))
        return index

    def _shard(self, generation: int, shard: int) -> ShardSection:
        count = self.size.products
        index = faiss.clone_index(self._trained)
        index.add_with_ids(_vectors(seed=1 + generation * self.size.shards + shard, count=count), np.arange(count))
        with tempfile.TemporaryDirectory() as scratch:
            files = write_shard(index, _products(generation, shard, count), Path(scratch))
            return ShardSection.of(index=self._put(files[0]), products=self._put(files[1]), count=count)

    def _put(self, file: Path) -> Blob:
        return blobs.put_file(self.store, file)


def product_id(shard: int, number: int) -> str:
    """Return a product's id, the same in all generations."""
    return f"{shard}-{number:07}"


def _products(generation: int, shard: int, count: int) -> pa.Table:
    numbers = range(count)
    attributes = [
        {"category": f"category {number % 20}", "price": 5.0 + number % 500, "generation": str(generation)}
        for number in numbers
    ]
    hashes = [hashlib.sha256(f"{shard} {number}".encode()).digest() for number in numbers]
    return pa.table(
        {
            "id": [product_id(shard, number) for number in numbers],
            "title": [f"Product {number:,} of shard {shard}, in a title of some length" for number in numbers],
            "image": [f"https://img.example/{shard}/{number}.jpg" for number in numbers],
            "attributes": attributes,
            "image_version": ["1"] * count,
            "image_hash": pa.array(hashes, pa.binary(32)),
        }
    )


def _vectors(*, seed: int, count: int) -> Vectors:
    """Return (count, DIMENSION) vectors of length 1 around centres that all seeds share."""
    centres = np.random.default_rng(7).standard_normal((CENTRES, DIMENSION), np.float32)
    random = np.random.default_rng([7, seed])
    noise = random.standard_normal((count, DIMENSION), np.float32)
    return normalise(centres[random.integers(0, CENTRES, count)] + 0.6 * noise)


def _random_rotation(inputs: int) -> Projection:
    matrix = np.random.default_rng(11).standard_normal((DIMENSION, inputs + 1), np.float32) / np.sqrt(inputs)
    matrix[:, -1] = 0
    return Projection(matrix.astype(np.float32))
