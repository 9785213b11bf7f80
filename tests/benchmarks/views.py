"""What further pictures of products bring: products with 1 to 8 pictures, and photos that show two products.

    python -m tests.benchmarks.views FOLDER [--count 300] [--encoder efficientnet-lite0] [--keep build/views]

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

KINDS = ("crop", "turn", "light", "background", "overlay", "photo")
"""Distortions of the queries: those that views may help with."""
COUNTS = (1, 2, 4, 8)
SIDE = 320  # pixels of each half of a photo that shows two products


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


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


def measure_views(bench: Bench, pictures: Pictures) -> None:
    """Print hit@1 of products with more and more pictures: the nearest counts, or their mean."""
    keys = sorted(pictures.files)
    views = [_in_order(bench.catalogue(pictures, "plain"), keys)]
    for name in list(AUGMENTATIONS)[: max(COUNTS) - 1]:
        made = bench.copies(pictures, f"augmentation {name} {VERSION}", partial(augmented, name=name))
        views.append(_in_order(made, keys))
    queries = {kind: _in_order(bench.queries(pictures, "plain", kind), keys) for kind in KINDS}
    _print(f"\n{len(keys)} products, {len(keys) * len(KINDS)} queries\n")
    _print(f"| pictures of a product | all | {' | '.join(KINDS)} |")
    _print(f"|---|---{'|---' * len(KINDS)}|")
    for count in COUNTS:
        mean = scale_to_unit_length(np.sum(views[:count], axis=0))
        for name, index in (("nearest", index_of(views[:count])), ("mean", index_of([mean]))):
            if count == 1 and name == "mean":
                continue
            shares = [hit_at_1(index, asked) for asked in queries.values()]
            label = str(count) if count == 1 else f"{count}, {name}"
            _print(f"| {label} | {np.mean(shares):.3f} | {' | '.join(f'{share:.3f}' for share in shares)} |")


def measure_sides(bench: Bench, pictures: Pictures) -> None:
    """Print hit@1 of products whose pictures are different ones, as sides of a thing are; queries show any of them."""
    most = max(COUNTS)
    keys = sorted(pictures.files)
    products = len(keys) // most
    keys = keys[: products * most]
    sides = _in_order(bench.catalogue(pictures, "plain"), keys).reshape(products, most, -1)
    queries = {kind: _in_order(bench.queries(pictures, "plain", kind), keys) for kind in KINDS}
    _print(f"\n{products} products of {most} different pictures, of which the catalogue has the first ones\n")
    _print("| pictures in the catalogue | nearest | mean |")
    _print("|---|---|---|")
    for count in COUNTS:
        views = [np.ascontiguousarray(sides[:, place]) for place in range(count)]
        mean = scale_to_unit_length(np.sum(views, axis=0))
        shares = [
            np.mean([hit_at_1(index, asked) for asked in queries.values()])
            for index in (index_of(views), index_of([mean]))
        ]
        _print(f"| {count} | {shares[0]:.3f} | {shares[1]:.3f} |")


def measure_photos(bench: Bench, pictures: Pictures) -> None:
    """Print hit@1 of products whose first picture shows another product, too."""
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
    _print(f"\n{len(keys)} products, two in each photo\n")
    _print(f"| pictures of a product | all | {' | '.join(KINDS)} |")
    _print(f"|---|---{'|---' * len(KINDS)}|")
    mean = scale_to_unit_length(photos + alone)
    rows = {"the photo": [photos], "the photo and its own, nearest": [photos, alone], "both, mean": [mean]}
    for label, vectors in rows.items():
        shares = [hit_at_1(index_of(vectors), asked) for asked in queries.values()]
        _print(f"| {label} | {np.mean(shares):.3f} | {' | '.join(f'{share:.3f}' for share in shares)} |")


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


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--keep", type=Path, default=Path("build/views"), help="where vectors are kept")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    encoder = opened(asked.keep, find_source(asked.encoder), None, asked.threads)
    bench = Bench(asked.keep, encoder)
    pictures = Pictures.below(asked.folder, None).sample(asked.count)
    measure_views(bench, pictures)
    measure_photos(bench, pictures)
    measure_sides(bench, pictures)


if __name__ == "__main__":
    main()
