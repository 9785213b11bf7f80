"""From which similarity on two pictures are near-duplicates, and how fast a build finds them.

    python -m tests.benchmarks.duplicates threshold FOLDER [--queries 500] [--output FILE]
    python -m tests.benchmarks.duplicates rate [--products 100000] [--output FILE]

`threshold` makes copies of pictures of a folder, in the ways in which shops come to have one picture twice (`COPIES`)
and in those of `distortions.py`, and compares every copy with all pictures: in the encoder's space and in the index's,
whitened or learnt from distorted copies, with each of some dimensions. Recall is the share of copies that are as near
to their original as the threshold says; precision is the share of such pairs that are a copy and its original, over
`COPIES`. Pictures of a folder that look alike without being copies count against precision. The table shows each space
at the threshold whose precision is nearest to 0.9, and the file has all thresholds and distortions.

`rate` builds a snapshot of random vectors with planted copies, without pictures, and looks for near-duplicates in it
as a reindex does.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
)
from lookalike.data.stores import open_store
from lookalike.tasks.build.duplicates import find_near_pairs, group_duplicates
from lookalike.tasks.build.shard import write_shard
from lookalike.tasks.encoders.base import scale_to_unit_length
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.decode import decode
from lookalike.tasks.search.projection import Projection, learn
from tests.benchmarks.distortions import DISTORTIONS, MOST_PIXELS
from tests.benchmarks.embedded import Bench, Embedded, Pictures, opened
from tests.benchmarks.learning import Copies, choose_others
from tests.benchmarks.results import add_output, write_result, write_table

Vectors = NDArray[np.float32]

THRESHOLDS = (*(0.50, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.87, 0.90, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99),)
SHOWN_PRECISION = 0.9
SHOWN_DISTORTIONS = ("mirror", "crop")
JPEG_QUALITY = 70
CLUSTERS = 2000
DIMENSION = 256
NPROBE = 16
PLANTED_SCORE = 0.95
VECTORS_A_FILE = 16_384


def _marked(image: Image.Image) -> Image.Image:
    marked, side = image.copy(), min(image.size) // 8
    box = (image.width - 2 * side, image.height - side, image.width - side // 4, image.height - side // 4)
    ImageDraw.Draw(marked).rectangle(box, fill=(120, 120, 120))
    return marked


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again": lambda image: image,
    "halved": lambda image: image.resize((max(2, image.width // 2), max(2, image.height // 2))),
    "trimmed": lambda image: image.crop(
        (image.width // 33, image.height // 33, image.width - image.width // 33, image.height - image.height // 33)
    ),
    "padded": lambda image: ImageOps.expand(image, max(image.size) // 16, (255, 255, 255)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "marked": _marked,
}
"""By 3 % of each side, 6 % of the longer side, 15 %, and a mark in a corner; all are saved as JPEG of quality 70."""


def copied(data: bytes, name: str) -> bytes:
    """Return another file that shows the same picture."""
    buffer = io.BytesIO()
    COPIES[name](decode(data, target=MOST_PIXELS)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def threshold(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return recall by distortion, precision, and pairs among the pictures themselves, for each space and threshold."""
    pictures = Pictures.below(arguments.folder, None)
    asked = pictures.sample(arguments.queries)
    encoder = opened(arguments.cache, find_source(arguments.encoder), None, arguments.threads)
    bench = Bench(arguments.cache, encoder)
    catalogue = bench.catalogue(pictures, "plain")
    rows = {key: row for row, key in enumerate(catalogue.keys)}
    copies = {name: bench.copies(asked, f"copy {name} 1", partial(copied, name=name)) for name in COPIES}
    copies |= {name: bench.queries(asked, "plain", name) for name in DISTORTIONS}
    spaces: dict[str, Callable[[Vectors], Vectors]] = {f"the encoder's, {encoder.spec.dimension}": scale_to_unit_length}
    for dimension in arguments.whiten:
        learnt = catalogue.vectors[: 4 * dimension if dimension < max(arguments.whiten) else None]
        spaces[f"whitened to {dimension} on {len(learnt)}"] = learn(learnt, dimension)
    if arguments.learn:
        differences = Copies(bench, choose_others(pictures, asked, arguments.learn)).differences()
        spaces |= {
            f"learnt, {dimension}": learn(catalogue.vectors, dimension, differences) for dimension in arguments.whiten
        }
    compared = {name: _compare(place(catalogue.vectors), copies, rows, place) for name, place in spaces.items()}
    return {"pictures": len(rows), "queries": len(asked.files), "spaces": compared}


def _compare(
    known: Vectors, copies: Mapping[str, Embedded], rows: Mapping[str, int], place: Callable[[Vectors], Vectors]
) -> list[dict[str, Any]]:
    own, others = {}, []
    for name, found in copies.items():
        scores = place(found.vectors) @ known.T
        truth = np.array([rows[key] for key in found.keys])
        own[name] = scores[np.arange(len(truth)), truth].copy()
        if name in COPIES:
            scores[np.arange(len(truth)), truth] = -1
            others.append(scores)
    among = (known @ known.T)[np.triu_indices(len(known), 1)]
    wrong, right = np.concatenate(others), np.concatenate([own[name] for name in COPIES])
    lines = []
    for least in THRESHOLDS:
        hits, misses = int((right >= least).sum()), int((wrong >= least).sum())
        lines.append(
            {
                "threshold": least,
                "recall": {name: float((scores >= least).mean()) for name, scores in own.items()},
                "recall_of_all_copies": float((right >= least).mean()),
                "precision": hits / max(hits + misses, 1),
                "pairs": int((among >= least).sum()),
            }
        )
    return lines


def threshold_table(figures: dict[str, Any]) -> str:
    """Return each space at the threshold whose precision is nearest to 0.9, as Markdown."""
    columns = ["space", "score", *COPIES, "all copies", "precision", "pairs among the pictures", *SHOWN_DISTORTIONS]
    shown = {
        name: min(lines, key=lambda line: abs(line["precision"] - SHOWN_PRECISION))
        for name, lines in figures["spaces"].items()
    }
    return write_table(columns, [_threshold_row(name, line) for name, line in shown.items()])


def _threshold_row(space: str, line: dict[str, Any]) -> list[str]:
    recall = line["recall"]
    return [
        space,
        f"{line['threshold']:.2f}",
        *(f"{recall[name]:.3f}" for name in COPIES),
        f"{line['recall_of_all_copies']:.3f}",
        f"{line['precision']:.3f}",
        f"{line['pairs']:,}",
        *(f"{recall[name]:.3f}" for name in SHOWN_DISTORTIONS),
    ]


def rate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how fast near-duplicates are found among random vectors, and how many of the planted ones."""
    with tempfile.TemporaryDirectory(prefix="lookalike-rate-") as folder:
        uri = str(Path(folder) / "store")
        manifest = _random_snapshot(uri, arguments.products, Path(folder))
        start = time.perf_counter()
        pairs = [find_near_pairs(uri, manifest, range(len(manifest.shards)), PLANTED_SCORE, threads=arguments.threads)]
        searched = time.perf_counter()
        found = group_duplicates(uri, manifest, pairs, PLANTED_SCORE)
        done = time.perf_counter()
    assert found.section is not None
    return {
        "pictures": arguments.products,
        "key": manifest.index.key,
        "nprobe": manifest.index.nprobe,
        "search_seconds": searched - start,
        "group_seconds": done - searched,
        "pictures_found": found.section.pictures,
        "groups_found": found.section.count,
        "groups_planted": _planted(arguments.products),
    }


def rate_table(figures: dict[str, Any]) -> str:
    """Return how long the search took and what it found, as Markdown."""
    columns = [
        "pictures",
        "index",
        "nprobe",
        "searched, s",
        "pictures/s",
        "grouped, s",
        "planted pairs",
        "groups found",
    ]
    row = [
        f"{figures['pictures']:,}",
        f"`{figures['key']}`",
        str(figures["nprobe"]),
        f"{figures['search_seconds']:.1f}",
        f"{figures['pictures'] / figures['search_seconds']:,.0f}",
        f"{figures['group_seconds']:.1f}",
        f"{figures['groups_planted']:,}",
        f"{figures['groups_found']:,}",
    ]
    return write_table(columns, [row])


def _planted(products: int) -> int:
    """One picture in twenty has a copy."""
    return products // 20


def _random_snapshot(uri: str, products: int, folder: Path) -> Manifest:
    """Store clustered vectors with copies of some, and a snapshot of them as a reindex builds it."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)
    vectors = centres[random.integers(0, CLUSTERS, products)] + random.normal(size=(products, DIMENSION))
    copies = _planted(products)
    vectors[-copies:] = vectors[:copies] + 0.05 * random.normal(size=(copies, DIMENSION))
    store = open_store(uri)
    hashes = [hashlib.sha256(str(number).encode()).digest() for number in range(products)]
    embeddings = Embeddings(store, "random")
    order = np.argsort(np.array(hashes, "S32"))
    for part in np.array_split(order, max(1, products // VECTORS_A_FILE)):
        embeddings.write([hashes[row] for row in part], vectors[part].astype(np.float32))
    table = pa.table({"id": [str(row) for row in order], "image_hash": pa.array([hashes[row] for row in order], HASH)})
    lists = 2 ** round(np.log2(4 * np.sqrt(products)))
    index = faiss.index_factory(DIMENSION, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    placed = scale_to_unit_length(vectors[order].astype(np.float32))
    index.train(placed[: 40 * lists])
    index.add(placed)
    files = [blobs.put_file(store, file) for file in write_shard(index, table, folder)]
    blob = blobs.put_bytes(store, b"no encoder is needed")
    identity = Projection(np.eye(DIMENSION, DIMENSION + 1, dtype=np.float32))
    encoder = EncoderSection(name="random", fingerprint="random", dimension=DIMENSION, spec=blob, model=blob)
    section = IndexSection(
        key=f"IVF{lists},SQ8",
        dimension=DIMENSION,
        trained_on=products,
        nprobe=NPROBE,
        reason="a benchmark",
    )
    shards = (ShardSection.of(index=files[0], products=files[1], count=products),)
    catalogue = CatalogueSection(id="random", uri="random", products=products)
    now = datetime.now(UTC)
    space = SpaceSection.of(encoder, blobs.put_bytes(store, identity.to_bytes()), section)
    return Manifest.of(catalogue, space, shards, created_at=now, code_version="0", run="benchmark")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description="Near-duplicates: from which similarity on, and how fast.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("threshold")
    command.add_argument("folder", type=Path, help="pictures, in any sub-folders")
    command.add_argument("--encoder", default="efficientnet-lite0")
    command.add_argument("--queries", type=int, default=500, help="pictures that are distorted, in each way")
    command.add_argument("--whiten", nargs="*", type=int, default=[32, 64, 128, 256], help="dimensions")
    command.add_argument("--learn", type=int, default=150, help="pictures to learn from, at most; 0: none")
    command.add_argument("--threads", type=int, default=2, help="of the model")
    add_output(command)
    kept = Path(tempfile.gettempdir()) / "lookalike-quality"
    command.add_argument("--cache", type=Path, default=kept, help="for exported encoders and vectors")
    command.set_defaults(measure=threshold, table=threshold_table)
    command = commands.add_parser("rate")
    command.add_argument("--products", type=int, default=100_000)
    command.add_argument("--threads", type=int, default=2, help="of FAISS")
    add_output(command)
    command.set_defaults(measure=rate, table=rate_table)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parsed(argv)
    figures = arguments.measure(arguments)
    sys.stdout.write(f"{arguments.table(figures)}\n")
    if arguments.output:
        write_result(arguments.output, figures)


if __name__ == "__main__":
    main()
