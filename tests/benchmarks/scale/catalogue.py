"""A made catalogue of any size: vectors that lie as embeddings do, hashes of pictures that nobody has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lookalike.data.catalogue.normalised import LocalCatalogue
from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection, ShardSection
from lookalike.data.stores import ObjectStore
from lookalike.tasks.build.texts import read_shard_texts
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.texts.content import DEFAULT_FIELDS, hash_texts, read_texts
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from tests.benchmarks.index_vectors import Clusters

DIMENSION = 256
BUCKETS = 10_000
AT_A_TIME = 2**16
NUMBERS_MOVE = 0.065
"""How far the number in a title moves its vector, of length 1."""
BRANDS = np.array([f"brand {number}" for number in range(200)])
TITLE_WORDS = (
    ("Acme", "Nordlicht", "Bellavista", "Kestrel", "Ostara", "Pinewood", "Quill", "Rivage", "Solano", "Tamarind"),
    ("red", "blue", "green", "waterproof", "lightweight", "vintage", "slim", "oversized", "organic", "folding"),
    ("leather", "cotton", "steel", "oak", "glass", "wool", "carbon", "bamboo", "linen", "rubber"),
    ("shoe", "jacket", "lamp", "grinder", "hose", "chair", "sweater", "kettle", "helmet", "table"),
)


class MadeEncoder(FakeEncoder):
    """The encoder of tests, with zeros behind its vectors: nothing is embedded, but a server proves its encoder."""

    name = "made"

    def fingerprint(self) -> str:
        return "00000000000256ff"

    def export(self, directory: Path) -> EncoderSpec:
        """Write the model, widened."""
        spec = super().export(directory)
        model = onnx.load(str(directory / MODEL_FILE))
        (output,) = model.graph.output
        model.graph.node[-1].output[0] = "narrow"
        ends = np.array([0, 0, 0, DIMENSION - spec.dimension], np.int64)
        model.graph.initializer.append(numpy_helper.from_array(ends, "ends"))
        model.graph.node.append(helper.make_node("Pad", ["narrow", "ends"], [output.name]))
        output.type.tensor_type.shape.dim[1].dim_value = DIMENSION
        onnx.save(model, str(directory / MODEL_FILE))
        return spec.model_copy(update={"dimension": DIMENSION})


def store_encoder(store: ObjectStore, folder: Path) -> EncoderSection:
    """Store the encoder that made vectors are of."""
    spec = MadeEncoder().export(folder)
    return EncoderSection(
        name=spec.name,
        fingerprint=spec.fingerprint,
        dimension=spec.dimension,
        spec=blobs.put_bytes(store, spec.model_dump_json().encode()),
        model=blobs.put_file(store, folder / MODEL_FILE),
    )


def store_catalogue(store: ObjectStore, encoder: EncoderSection, count: int, folder: Path) -> str:
    """Store so many products and their vectors; return the catalogue's id."""
    catalogue = LocalCatalogue(folder, _store_ranges(store, encoder, count))
    catalogue.store(store)
    return catalogue.id


def _store_ranges(store: ObjectStore, encoder: EncoderSection, count: int) -> Iterator[pa.Table]:
    clusters, embeddings = Clusters(DIMENSION), Embeddings(store, encoder.fingerprint)
    edges = np.linspace(0, count, -(-count // AT_A_TIME) + 1, dtype=int).tolist()
    for number, (start, stop) in enumerate(pairwise(edges)):
        hashes = make_hashes(stop - start, number, len(edges) - 1)
        vectors, looks = clusters.draw_labelled(stop - start, seed=1 + number)
        embeddings.write([one.tobytes() for one in hashes], vectors)
        yield make_products(np.arange(start, stop), hashes, looks)


def make_hashes(count: int, part: int, parts: int) -> NDArray[np.bytes_]:
    """Return hashes (count,), sorted, that lie in one of so many equal parts of all hashes."""
    random = np.random.default_rng([1, part])
    low, high = 2**63 * part // parts, 2**63 * (part + 1) // parts
    words = random.integers(0, 2**63, (count, 4), np.uint64)
    words[:, 0] = np.sort(random.integers(low, high, count).astype(np.uint64) * np.uint64(2))
    return np.ascontiguousarray(words.astype(">u8")).view("V32").ravel()


def product_id(number: int) -> str:
    """Return a product's id."""
    return f"shop/{number:09}"


def make_titles(numbers: NDArray[np.int64], looks: NDArray[np.int64]) -> list[str]:
    """Return different titles: a brand, words of a shop that tell what a product looks like, and a number."""
    brands, *kinds = TITLE_WORDS
    random = np.random.default_rng([4, int(numbers[0])])
    parts = [random.choice(brands, len(numbers)).tolist()]
    for words in kinds:
        looks, places = np.divmod(looks, len(words))
        parts.append(np.array(words)[places].tolist())
    return [f"{' '.join(words)} {number:09}" for *words, number in zip(*parts, numbers.tolist(), strict=True)]


def store_titles(store: ObjectStore, encoder: OnnxTextEncoder, shards: Sequence[ShardSection]) -> None:
    """Store vectors for all titles of some shards.

    Each combination of words is encoded once. Titles with the same words lie around it, as far from each other as
    numbers move them: the encoder of `minilm` gives a cosine of 0.996.
    """
    embeddings, random = Embeddings(store, encoder.spec.fingerprint), np.random.default_rng(5)
    encoded: dict[str, NDArray[np.float32]] = {}
    for shard in shards:
        for table in read_shard_texts(store, shard):
            texts = read_texts(table, DEFAULT_FIELDS)
            words = [text.rpartition(" ")[0] for text in texts]
            new = sorted(set(words) - encoded.keys())
            for start in range(0, len(new), encoder.batch_size):
                some = new[start : start + encoder.batch_size]
                tokens = [encoder.prepare(f"{text} {0:09}") for text in some]
                encoded |= zip(some, encoder.finish(encoder.infer(tokens)), strict=True)
            vectors = np.stack([encoded[text] for text in words])
            vectors += NUMBERS_MOVE * random.standard_normal(vectors.shape, np.float32) / np.sqrt(vectors.shape[1])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            embeddings.write([one.tobytes() for one in hash_texts(texts)], vectors)


def make_products(numbers: NDArray[np.int64], hashes: NDArray[np.bytes_], looks: NDArray[np.int64]) -> pa.Table:
    """Return products with attributes of several kinds; `bucket` selects any share of them."""
    random = np.random.default_rng([2, int(numbers[0])])
    count = len(numbers)
    tags = pa.ListArray.from_arrays(
        pa.array(np.arange(0, 2 * count + 1, 2, dtype=np.int32)), pa.array(random.choice(BRANDS, 2 * count))
    )
    attributes = {
        "brand": pa.array(random.choice(BRANDS, count)),
        "price": pa.array(random.uniform(1, 500, count).round(2)),
        "stock": pa.array(random.integers(0, 100, count), mask=random.random(count) < 0.1),
        "added": pa.array(random.integers(18_000, 20_000, count).astype(np.int32)).cast(pa.date32()),
        "tags": tags,
        "bucket": pa.array(random.integers(0, BUCKETS, count).astype(np.int32)),
    }
    return pa.table(
        {
            "id": [product_id(number) for number in numbers.tolist()],
            "title": make_titles(numbers, looks),
            "image": [f"https://shop.example/images/{number}.jpg" for number in numbers.tolist()],
            "image_version": ["1"] * count,
            "image_hash": pa.FixedSizeBinaryArray.from_buffers(HASH, count, [None, pa.py_buffer(hashes.tobytes())]),
            "attributes": pa.StructArray.from_arrays(list(attributes.values()), names=list(attributes)),
        }
    )
