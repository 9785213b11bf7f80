"""What further pictures of products bring: products with 1 to 8 pictures, and photos that show two products.

    python -m tests.benchmarks.views FOLDER [--count 300] [--encoder efficientnet-lite0] [--keep build/views]
        [--output FILE]

FOLDER has pictures, one of each product; those of the demo are in .lookalike/samples. Further pictures are made by the
augmentations of tasks/images/augmentations.py, as a shop has a product in another light, turned or nearer. Queries are
other distortions of the first picture (tests/benchmarks/distortions.py). Photos that show two products are two pictures
side by side: both products have the photo as their first picture, and a picture of their own as the second. Sides are
different pictures of one product, drawn at random: a query shows any of them.
Prints Markdown tables of hit@1, searched by the code that serves. Vectors are not projected, the same for all rows.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from PIL import Image

from lookalike.tasks.encoders.base import scale_to_unit_length
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.augmentations import AUGMENTATIONS, VERSION
from lookalike.tasks.images.decode import decode
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.views import Views
from tests.benchmarks.embedded import Bench, Embedded, Pictures, Vectors, opened
from tests.benchmarks.learning import augmented
from tests.benchmarks.results import add_output, write_result, write_table

KINDS = ("crop", "turn", "light", "background", "overlay", "photo")
"""Distortions of the queries: those that views may help with."""
COUNTS = (1, 2, 4, 8)
SIDE = 320  # pixels of each half of a photo that shows two products


def index_of(vectors: list[Vectors]) -> ShardedIndex:
    """Return an index of (products, d) vectors of the first pictures, and of the second ones, and so on."""
    shards = []
    for part in (vectors[0], np.concatenate(vectors[1:]) if len(vectors) > 1 else vectors[0][:0]):
        shard = faiss.IndexFlatIP(vectors[0].shape[1])
        shard.add(np.ascontiguousarray(part))
        shards.append(shard)
    products, further = len(vectors[0]), len(vectors) - 1
    owners = np.tile(np.arange(products), further)
    numbers = np.repeat(np.arange(2, 2 + further), products)
    return ShardedIndex(shards, views=Views(products, owners, numbers) if further else None)


def hit_at_1(index: ShardedIndex, queries: Vectors) -> float:
    """Return the share of (n, d) queries, as many of each product one after another, that find their product first."""
    found = index.search(queries, 1).rows[:, 0]
    return float((found == np.arange(len(queries)) // (len(queries) // index.size)).mean())


def measure_views(bench: Bench, pictures: Pictures) -> dict[str, Any]:
    """Return hit@1 of products with more and more pictures: the nearest counts, or their mean."""
    keys = sorted(pictures.files)
    views = [_in_order(bench.catalogue(pictures, "plain"), keys)]
    for name in list(AUGMENTATIONS)[: max(COUNTS) - 1]:
        made = bench.copies(pictures, f"augmentation {name} {VERSION}", partial(augmented, name=name))
        views.append(_in_order(made, keys))
    queries = {kind: _in_order(bench.queries(pictures, "plain", kind), keys) for kind in KINDS}
    found = {}
    for count in COUNTS:
        found["1" if count == 1 else f"{count}, the nearest counts"] = _shares(index_of(views[:count]), queries)
        if count > 1:
            mean = scale_to_unit_length(np.sum(views[:count], axis=0))
            found[f"{count}, their mean"] = _shares(index_of([mean]), queries)
    return {"products": len(keys), "hit_at_1": found}


def _shares(index: ShardedIndex, queries: dict[str, Vectors]) -> dict[str, float]:
    shares = {kind: hit_at_1(index, asked) for kind, asked in queries.items()}
    return {"all": float(np.mean(list(shares.values()))), **shares}


def measure_sides(bench: Bench, pictures: Pictures) -> dict[str, Any]:
    """Return hit@1 of products whose pictures are different ones, as sides of a thing are; queries show any of them."""
    most = max(COUNTS)
    keys = sorted(pictures.files)
    products = len(keys) // most
    keys = keys[: products * most]
    sides = _in_order(bench.catalogue(pictures, "plain"), keys).reshape(products, most, -1)
    queries = {kind: _in_order(bench.queries(pictures, "plain", kind), keys) for kind in KINDS}
    found = {}
    for count in COUNTS:
        views = [np.ascontiguousarray(sides[:, place]) for place in range(count)]
        mean = scale_to_unit_length(np.sum(views, axis=0))
        found[str(count)] = {
            "the nearest counts": _shares(index_of(views), queries),
            "their mean": _shares(index_of([mean]), queries),
        }
    return {"products": products, "pictures_of_each": most, "hit_at_1": found}


def measure_photos(bench: Bench, pictures: Pictures) -> dict[str, Any]:
    """Return hit@1 of products whose first picture shows another product, too."""
    keys = sorted(pictures.files)
    keys = keys[: len(keys) // 2 * 2]
    partner = dict(zip(keys, [keys[place ^ 1] for place in range(len(keys))], strict=True))
    pictures = Pictures({key: pictures.files[key] for key in keys})
    by_data = {hashlib.sha256(pictures.read(key)).hexdigest(): key for key in keys}

    def photograph(data: bytes) -> bytes:
        own = by_data[hashlib.sha256(data).hexdigest()]
        return side_by_side(*(pictures.read(key) for key in sorted((own, partner[own]))))

    photos = _in_order(bench.copies(pictures, f"two in one photo, {SIDE}", photograph), keys)
    alone = _in_order(bench.catalogue(pictures, "plain"), keys)
    queries = {kind: _in_order(bench.queries(pictures, "plain", kind), keys) for kind in KINDS}
    rows = {
        "the photo": [photos],
        "the photo and its own, the nearest counts": [photos, alone],
        "the same, their mean": [scale_to_unit_length(photos + alone)],
    }
    found = {label: _shares(index_of(vectors), queries) for label, vectors in rows.items()}
    return {"products": len(keys), "hit_at_1": found}


def side_by_side(left: bytes, right: bytes) -> bytes:
    """Return a photo of two products."""
    photo = Image.new("RGB", (2 * SIDE, SIDE), (255, 255, 255))
    for place, data in enumerate((left, right)):
        image = decode(data)
        image.thumbnail((SIDE, SIDE))
        photo.paste(image, (place * SIDE + (SIDE - image.width) // 2, (SIDE - image.height) // 2))
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return buffer.getvalue()


def _in_order(embedded: Embedded, keys: list[str]) -> Vectors:
    rows = {key: row for row, key in enumerate(embedded.keys)}
    return scale_to_unit_length(embedded.vectors[[rows[key] for key in keys]])


def table(figures: dict[str, Any]) -> str:
    """Return hit@1 of photos with two products, of different pictures and of the same ones again, as Markdown."""
    photos, sides, views = (figures[name] for name in ("photos", "sides", "views"))
    return "\n\n".join(
        [
            f"Two products in one photo, {photos['products']} products:",
            _by_kind(photos["hit_at_1"]),
            f"Different pictures, {sides['products']} products of {sides['pictures_of_each']}:",
            _sides_table(sides["hit_at_1"]),
            f"The same picture again, {views['products']} products:",
            _by_kind(views["hit_at_1"]),
        ]
    )


def _by_kind(found: dict[str, dict[str, float]]) -> str:
    rows = [[label, *(f"{shares[kind]:.3f}" for kind in ("all", *KINDS))] for label, shares in found.items()]
    return write_table(["pictures of a product", "all", *KINDS], rows)


def _sides_table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    ways = ("the nearest counts", "their mean")
    rows = [[count, *(f"{shares[way]['all']:.3f}" for way in ways)] for count, shares in found.items()]
    return write_table(["pictures in the catalogue", *ways], rows)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--keep", type=Path, default=Path("build/views"), help="where vectors are kept")
    parser.add_argument("--threads", type=int, default=2)
    add_output(parser)
    asked = parser.parse_args()
    encoder = opened(asked.keep, find_source(asked.encoder), None, asked.threads)
    bench = Bench(asked.keep, encoder)
    pictures = Pictures.below(asked.folder, None).sample(asked.count)
    figures = {
        "views": measure_views(bench, pictures),
        "photos": measure_photos(bench, pictures),
        "sides": measure_sides(bench, pictures),
    }
    sys.stdout.write(f"{table(figures)}\n")
    if asked.output:
        write_result(asked.output, figures)


if __name__ == "__main__":
    main()
