"""How well an encoder finds a picture again after it was cropped, turned, darkened and saved as a poor JPEG.

    python tests/benchmarks/retrieval.py FOLDER [--encoder NAME] [--fits pad stretch crop] [--whiten 256 512]

Prints hit@1 and hit@10 for each way to fit pictures, with and without whitening, which is learnt on the
catalogue's vectors, as the index does it.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from tasks.embedding import ImageToEmbed, embed
from tasks.encoders.base import MODEL_FILE, Encoder
from tasks.encoders.efficientnet_lite import EfficientNetLite0, Pooling
from tasks.encoders.onnx import OnnxEncoder
from tasks.encoders.preprocessing import Preprocessing
from tasks.encoders.registry import source
from tasks.images import decode

Vectors = NDArray[np.float32]
Transform = Callable[[Vectors], Vectors]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}
SEED = 7


def pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, in a stable order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def photographed(data: bytes, rng: random.Random) -> bytes:
    """Damage a picture as a careless photo would: 80 % of its area, turned by 15 degrees, darker, JPEG 20."""
    image = decode(data)
    share = 0.8**0.5
    width, height = (round(side * share) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    image = image.crop((left, top, left + width, top + height))
    turn = rng.choice((-15, 15))
    image = image.rotate(turn, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255))
    image = ImageEnhance.Brightness(image).enhance(0.6)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=20)
    return buffer.getvalue()


def vectors_of(encoder: Encoder, data: Iterable[bytes]) -> Vectors:
    """Encode pictures that are all known to be good: float32 (n, d)."""
    by_key = {str(index): item for index, item in enumerate(data)}
    images = (ImageToEmbed(key, key) for key in by_key)
    batches = list(embed(images, encoder, read=by_key.__getitem__))
    if rejects := [reject for batch in batches for reject in batch.rejects]:
        raise SystemExit(f"{len(rejects)} pictures cannot be used, the first: {rejects[0]}")
    return np.concatenate([batch.vectors for batch in batches])


def whitening(catalogue: Vectors, dimension: int) -> Transform:
    """PCA to `dimension`, every direction brought to the same variance, then length 1."""
    mean = catalogue.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov((catalogue - mean).T.astype(np.float64)))
    kept = np.argsort(values)[::-1][: min(dimension, len(catalogue) - 1)]
    matrix = (directions[:, kept] / np.sqrt(np.maximum(values[kept], 1e-12))).astype(np.float32)

    def transform(vectors: Vectors) -> Vectors:
        projected = (vectors - mean) @ matrix
        return np.asarray(projected / np.linalg.norm(projected, axis=1, keepdims=True), dtype=np.float32)

    return transform


def hits(catalogue: Vectors, queries: Vectors, truth: list[int], k: int) -> float:
    """Share of queries whose own picture is among the k most similar."""
    scores = queries @ catalogue.T
    own = scores[np.arange(len(truth)), truth]
    return float(((scores > own[:, None]).sum(axis=1) < k).mean())


def exported(name: str, pooling: str | None, threads: int) -> tuple[OnnxEncoder, bytes]:
    """An encoder of the registry, or the default network with another pooling; and its model's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        origin = source(name) if pooling is None else EfficientNetLite0(pooling=cast("Pooling", pooling))
        spec = origin.export(Path(folder))
        model = (Path(folder) / MODEL_FILE).read_bytes()
    return OnnxEncoder(model, spec, threads=threads), model


def refitted(encoder: OnnxEncoder, model: bytes, fit: str, threads: int) -> OnnxEncoder:
    """The same model behind another way to fit pictures."""
    fitted = Preprocessing.model_validate({**encoder.spec.preprocessing.model_dump(), "fit": fit})
    return OnnxEncoder(model, encoder.spec.model_copy(update={"preprocessing": fitted}), threads=threads)


def rows(encoder: OnnxEncoder, catalogue: list[bytes], count: int, whiten: list[int]) -> Iterator[str]:
    """Hit rates of one encoder, as lines of a table."""
    rng = random.Random(SEED)
    truth = rng.sample(range(len(catalogue)), min(count, len(catalogue)))
    known = vectors_of(encoder, catalogue)
    asked = vectors_of(encoder, [photographed(catalogue[index], rng) for index in truth])
    for dimension in (0, *whiten):
        transform: Transform = whitening(known, dimension) if dimension else (lambda vectors: vectors)
        first, second = transform(known), transform(asked)
        label = f"whitened to {first.shape[1]}" if dimension else f"as it is, {first.shape[1]}"
        spec = encoder.spec
        figures = f"{hits(first, second, truth, 1):>7.3f} {hits(first, second, truth, 10):>7.3f}"
        yield f"{spec.pooling:<22} {spec.preprocessing.fit:<8} {label:<16} {figures}\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Share of damaged pictures that find their original again.")
    parser.add_argument("folder", type=Path, help="pictures, in any sub-folders")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--poolings", nargs="*", default=[None], help="of efficientnet-lite0: all to compare")
    parser.add_argument("--fits", nargs="*", default=["pad"], help="pad, stretch, crop")
    parser.add_argument("--whiten", nargs="*", type=int, default=[256], help="dimensions to whiten to")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    catalogue = [path.read_bytes() for path in pictures(arguments.folder)]
    sys.stdout.write(f"{arguments.encoder}, {len(catalogue)} pictures, {arguments.queries} queries\n")
    sys.stdout.write(f"{'pooling':<22} {'fit':<8} {'vectors':<16} {'hit@1':>7} {'hit@10':>7}\n")
    for pooling in arguments.poolings:
        encoder, model = exported(arguments.encoder, pooling, arguments.threads)
        for fit in arguments.fits:
            variant = refitted(encoder, model, fit, arguments.threads)
            for row in rows(variant, catalogue, arguments.queries, arguments.whiten):
                sys.stdout.write(row)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
