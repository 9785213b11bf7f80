"""Real snapshots, as small as can be: pictures by Pillow, the `fake` encoder, every step that a reindex takes."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from lookalike.data.embeddings import HASH, Embeddings, position
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.colours import open_colours
from lookalike.data.snapshots.documents import mark_store
from lookalike.data.snapshots.duplicates import to_parquet
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    DuplicatesSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
)
from lookalike.data.snapshots.products import VIEWS_FIELD
from lookalike.data.snapshots.store import write_manifest
from lookalike.data.stores import ObjectStore
from lookalike.tasks.build.colours import store_colours
from lookalike.tasks.build.jobs import Measurement
from lookalike.tasks.build.planner import plan
from lookalike.tasks.build.shard import build_index, read_vectors, shard_range, write_shard
from lookalike.tasks.build.texts import (
    BuiltTexts,
    TextChoice,
    build_text_part,
    describe_text_space,
    plan_texts,
    read_shard_texts,
    with_text_parts,
)
from lookalike.tasks.build.train import train
from lookalike.tasks.build.views import list_views, store_views
from lookalike.tasks.build.words import store_words
from lookalike.tasks.draft import describe_colours, describe_words
from lookalike.tasks.embed.texts import embed_texts
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSource, EncoderSpec, encode
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.encoders.texts.content import hash_texts, read_texts
from lookalike.tasks.encoders.texts.exported import put_text_encoder
from lookalike.tasks.encoders.texts.stored import store_text_encoder
from lookalike.tasks.images.colours import measure_colours
from lookalike.tasks.images.decode import decode_with_alpha
from lookalike.tasks.search.neighbours import SearchParameters
from tests.support.towers import TwoTowers

ODD_ID = "shoes/ä b?c#d.png"
OTHER_ENCODER = "tests.support.shop:OtherEncoder"
CATEGORIES = ("shoes", "hats", "bags")
_FIRST = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class OtherEncoder(FakeEncoder):
    """The same vectors under another name: a model upgrade, as far as anybody can tell."""

    name = "other"
    _pooling = "other grid"


class MovedEncoder(FakeEncoder):
    """The same weights under another name."""


@lru_cache(1024)  # tests ask for the same few again and again
def picture(seed: int, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """Return a picture that no other seed gives."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(value) for value in random.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        left, top = (int(random.integers(0, side - 8)) for side in size)
        colour = tuple(int(value) for value in random.integers(0, 255, 3))
        draw.ellipse((left, top, left + size[0] // 2, top + size[1] // 2), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def product_ids(count: int) -> list[str]:
    """Return the ids of `count` products, with every trouble that an id can make."""
    odd = [ODD_ID, "a", "a/image", "b/similar", "hats/ü/..//x", "100%/+&=.png"]
    return (odd + [f"{CATEGORIES[number % 3]}/{number:03}.png" for number in range(count)])[:count]


def write_pictures(folder: Path, count: int, first_seed: int = 0) -> list[dict[str, Any]]:
    """Write pictures into a folder; return the rows of a catalogue that names them."""
    rows = []
    for number, product in enumerate(product_ids(count)):
        file = folder / f"{number:04}.png"
        file.write_bytes(picture(first_seed + number))
        attributes = {
            "category": CATEGORIES[number % 3],
            "price": float("nan") if number == 7 else 10.0 + number,
            "stock": number,
            "new": number % 2 == 0,
            "tags": ["red", "sale"] if number % 4 == 0 else ["blue"],
        }
        rows.append(
            {"id": product, "title": f"Product {number} <b>&</b>", "image": str(file), "attributes": attributes}
        )
    return rows


@cache
def _find_source(encoder: str) -> EncoderSource:
    """Find an encoder once: whoever looks reads the entry points of every installed package."""
    return find_source(encoder)


class Shop:
    """A catalogue on disk, and its snapshots in a store.

    Set `words` to None for snapshots without, `text_encoder` for those that know what titles mean, and `colours` for
    those that know the colours of pictures.
    """

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.words = describe_words(wanted=True)
        self.text_encoder: str | None = None
        self.colours = describe_colours(wanted=False)
        self.store = store
        self.folder = folder
        self.channel = Channel(store)
        self._built = 0

    def publish(self, count: int = 24, *, first_seed: int = 0, shards: int = 2, encoder: str = "fake") -> Manifest:
        """Build a snapshot of `count` products and point the channel at it."""
        manifest = self.build(count, first_seed=first_seed, shards=shards, encoder=encoder)
        self.point_at(manifest)
        return manifest

    def point_at(self, manifest: Manifest) -> Entry:
        """Move the channel."""
        return self.channel.move(manifest.id, after=self.channel.latest(), reason="a test", actor="tests")

    def build(self, count: int, *, first_seed: int = 0, shards: int = 2, encoder: str = "fake") -> Manifest:
        """Build a snapshot without publishing it."""
        pictures = self.folder / f"pictures-{self._built + 1}"
        pictures.mkdir(parents=True)
        return self.build_rows(write_pictures(pictures, count, first_seed), shards=shards, encoder=encoder)

    def build_rows(
        self,
        rows: list[dict[str, Any]],
        *,
        shards: int = 2,
        encoder: str = "fake",
        near: Sequence[Sequence[str]] = (),
    ) -> Manifest:
        """Build a snapshot of the rows of a catalogue; `near` are groups of near-duplicates, by their files.

        A row whose `image` is no file of this machine says in `file` where its picture is. The `views` of a row are the
        files of its further pictures.
        """
        self._built += 1
        with tempfile.TemporaryDirectory() as scratch:
            return self._build(rows, Path(scratch), shards, encoder, self._duplicates(near) if near else None)

    def _duplicates(self, near: Sequence[Sequence[str]]) -> DuplicatesSection:
        hashes = [hashlib.sha256(Path(file).read_bytes()).digest() for files in near for file in files]
        groups = np.repeat(np.arange(len(near)), [len(files) for files in near])
        return DuplicatesSection(
            groups=blobs.put_bytes(self.store, to_parquet(hashes, groups)),
            threshold=0.9,
            count=len(near),
            largest=max(map(len, near)),
            pictures=len(hashes),
            products=len(hashes),
        )

    def _build(
        self,
        rows: list[dict[str, Any]],
        scratch: Path,
        shards: int,
        encoder: str,
        duplicates: DuplicatesSection | None,
    ) -> Manifest:
        source = _find_source(encoder)
        spec = source.export(scratch)
        products, embeddings = self._embed(rows, scratch / MODEL_FILE, spec)
        chosen = plan(len(rows), spec.dimension, spec.fingerprint, shards=shards, parent=None)
        _, vectors = embeddings.read()
        projection, trained = train([vectors], chosen, threads=1)
        sections = []
        for number in range(shards):
            start, stop = shard_range(number, shards)
            inside = [start <= position(product_hash) < stop for product_hash in products["image_hash"].to_pylist()]
            mine = products.filter(pa.array(inside)).sort_by([("image_hash", "ascending"), ("id", "ascending")])
            stored = read_vectors(mine, embeddings, start, stop)
            index = build_index([stored], len(stored), chosen, projection, trained, threads=1)
            files = write_shard(index, mine, scratch)
            views = store_views(
                self.store,
                list_views(mine),
                embeddings,
                lambda batches, size: build_index(batches, size, chosen, projection, trained, threads=1),
            )
            sections.append(
                ShardSection.of(
                    index=self._put(files[0]),
                    products=self._put(files[1]),
                    count=len(mine),
                    text=store_words(self.store, mine),
                    colours=store_colours(self.store, mine) if self.colours else None,
                    views=views,
                )
            )
        index_section = IndexSection(
            key=chosen.key,
            dimension=chosen.dimension,
            trained_on=len(rows),
            reason=chosen.reason,
        )
        encoder_section = EncoderSection(
            name=spec.name,
            fingerprint=spec.fingerprint,
            dimension=spec.dimension,
            spec=blobs.put_bytes(self.store, spec.model_dump_json().encode()),
            model=self._put(scratch / MODEL_FILE),
            text=put_text_encoder(self.store, source.text_tower()) if isinstance(source, TwoTowers) else None,
        )
        matrix = blobs.put_bytes(self.store, projection.to_bytes()) if projection else None
        space = SpaceSection.of(encoder_section, matrix, index_section)
        return self._write(len(rows), space, tuple(sections), duplicates)

    def _embed(self, rows: list[dict[str, Any]], model: Path, spec: EncoderSpec) -> tuple[pa.Table, Embeddings]:
        contents = [Path(row.get("file", row["image"])).read_bytes() for row in rows]
        further = [[Path(file).read_bytes() for file in row.get("views", ())] for row in rows]
        hashes = [hashlib.sha256(data).digest() for data in contents]
        every = [*contents, *(data for some in further for data in some)]
        embeddings = Embeddings(self.store, spec.fingerprint)
        embeddings.write(
            [hashlib.sha256(data).digest() for data in every], encode(OnnxEncoder(model, spec, threads=1), every)
        )
        if self.colours:
            shares = np.stack([measure_colours(*decode_with_alpha(data)) for data in contents])
            open_colours(self.store).write(hashes, shares.astype(np.float32))
        columns = {name: pa.array([row[name] for row in rows]) for name in ("id", "title", "image", "attributes")}
        versions = pa.array(["1"] * len(rows))
        table = pa.table({**columns, "image_version": versions, "image_hash": pa.array(hashes, HASH)})
        if any(further):
            views = [
                [
                    {"image": str(file), "image_version": "1", "image_hash": hashlib.sha256(data).digest()}
                    for file, data in zip(row.get("views", ()), some, strict=True)
                ]
                for row, some in zip(rows, further, strict=True)
            ]
            table = table.append_column(VIEWS_FIELD, pa.array(views, VIEWS_FIELD.type))
        return table, embeddings

    def _build_texts(self, shards: tuple[ShardSection, ...]) -> BuiltTexts | None:
        """Encode titles and build their index, as a reindex does on workers."""
        choice = TextChoice(store_text_encoder(self.store, self.text_encoder or "fake"), ("title",))
        texts = [
            text
            for shard in shards
            for table in read_shard_texts(self.store, shard)
            for text in read_texts(table, choice.fields)
            if text
        ]
        known = pa.table({"text_hash": pa.array(hash_texts(texts).tolist(), HASH), "text": texts})
        embed_texts(known, store=self.store.uri, encoder=choice.encoder, threads=1)
        chosen = plan_texts(self.store.uri, choice, shards, None, threads=1)
        if chosen is None:
            return None
        parts = [build_text_part(self.store.uri, choice, chosen, shard, threads=1) for shard in shards]
        measured = Measurement(1.0, 0.001, SearchParameters())
        return BuiltTexts(describe_text_space(choice, chosen, measured), with_text_parts(shards, parts), measured)

    def _put(self, file: Path) -> Blob:
        return blobs.put_file(self.store, file)

    def _write(
        self,
        count: int,
        space: SpaceSection,
        shards: tuple[ShardSection, ...],
        duplicates: DuplicatesSection | None,
    ) -> Manifest:
        catalogue = CatalogueSection(
            id="c1", uri="file:///shop", products=count, attribution="Pictures by <i>Pillow</i>"
        )
        texts = self._build_texts(shards) if self.text_encoder else None
        manifest = Manifest.of(
            *(catalogue, space, texts.shards if texts else shards),
            created_at=_FIRST + timedelta(seconds=self._built),
            code_version="0",
            run="tests",
            quality={"recall_at_10": 1.0},
            words=self.words,
            colours=self.colours,
            duplicates=duplicates,
            text=texts.space if texts else None,
        )
        mark_store(self.store)
        return write_manifest(self.store, manifest)
