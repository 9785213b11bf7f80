"""Which encoder finds a picture again after what phones and screenshots do to it, and at what price.

    python -m tests.benchmarks.quality FOLDER --encoders efficientnet-lite0 efficientnet-lite2 [--whiten 256]
        [--views plain flip] [--poolings avg gem3] [--queries 500] [--json FILE]

Takes any folder of pictures, distorts some of them in each way of `distortions.py`, and looks for the originals among
all. Prints Markdown tables: hit@1, hit@10 and mAP for each encoder and each distortion, beside dimension, bytes a
vector and pictures embedded a second, reading and decoding included. A query has one right answer, so mAP is the mean
reciprocal rank. Queries in which the encoder sees nothing find nothing, nor do those whose original it does not see.
Files that show the same, pixel by pixel, count as one picture, and those that the product cannot decode as none.

Whitening is the index's own, learnt on the catalogue's vectors, and to no more dimensions than a reindex of so many
pictures would take: to a half of what is asked for, or a half of that, or not at all. Exported encoders and vectors are
kept in a temporary folder, so a second run with other dimensions costs seconds. Everything but the rate is the same on
every run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.data.snapshots import blobs
from lookalike.data.stores import open_store
from lookalike.tasks.embed.pipeline import ImageToEmbed, Read, embed
from lookalike.tasks.encoders.base import Encoder, EncoderSource, EncoderSpec, scale_to_unit_length
from lookalike.tasks.encoders.efficientnet_lite import POOLINGS, EfficientNetLite0
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.encoders.stored import store_source
from lookalike.tasks.images.decode import DEFAULT_LIMITS, FORMATS, ImageLimits, decode
from lookalike.tasks.images.preprocessing import Preprocessing
from lookalike.tasks.search.projection import choose_dimension, learn
from tests.benchmarks import distortions
from tests.benchmarks.distortions import DISTORTIONS, distorted
from tests.benchmarks.picking import evenly, pictures_below

Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SEED = 7
STORED_BYTES = 2  # of one number, as the store holds vectors: float16
ALL = "all"


def mirrored(pixels: Pixels) -> Pixels:
    """Left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])


def enlarged(pixels: Pixels) -> Pixels:
    """The middle three quarters of each side, at full size."""
    size = len(pixels)
    edge = size // 8
    image = Image.fromarray(pixels).resize((size, size), box=(edge, edge, size - edge, size - edge))
    return np.array(image, dtype=np.uint8)


VIEWS: dict[str, tuple[Callable[[Pixels], Pixels] | None, ...]] = {
    "plain": (None,),
    "flip": (None, mirrored),
    "zoom": (None, enlarged),
}
"""What is looked at of each picture, catalogue and query alike: the vectors of all views are added up."""


def looks(data: bytes) -> bytes | None:
    """Return what two files share that show the same, pixel by pixel, in whatever format; None for no picture."""
    try:
        image = decode(data, target=distortions.MOST_PIXELS)
    except ImageRejectedError:
        return None
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures that look different, by the sha256 of their files, in a stable order."""

    files: dict[str, Path]

    @classmethod
    def below(cls, folder: Path, most: int | None) -> Pictures:
        """Those below a folder, or so many of them, evenly picked."""
        paths = pictures_below(folder)
        found: dict[bytes, tuple[str, Path]] = {}
        for path in evenly(paths, most) if most else paths:
            data = path.read_bytes()
            if look := looks(data):
                found.setdefault(look, (hashlib.sha256(data).hexdigest(), path))
        if not found:
            raise SystemExit(f"no file below {folder} can be decoded: give whole pictures, {', '.join(FORMATS)}")
        return cls(dict(found.values()))

    def sample(self, count: int) -> Pictures:
        """Return so many of them, always the same."""
        keys = sorted(Random(SEED).sample(sorted(self.files), min(count, len(self.files))))
        return Pictures({key: self.files[key] for key in keys})

    def digest(self) -> str:
        """Of the content of all."""
        return hashlib.sha256("".join(self.files).encode()).hexdigest()

    def read(self, key: str) -> bytes:
        """Read one file."""
        return self.files[key].read_bytes()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (n, d) of the pictures that could be used, by key, and how long they took."""

    keys: tuple[str, ...]
    vectors: Vectors
    seconds: float

    def added(self, other: Embedded) -> Embedded:
        """Return the directions between those of two views of the same pictures, of those that have both."""
        one, another = self.among(other.keys), other.among(self.keys)
        return Embedded(one.keys, scale_to_unit_length(one.vectors + another.vectors), one.seconds + another.seconds)

    def among(self, keys: Iterable[str]) -> Embedded:
        """Return those whose keys are among these."""
        wanted = frozenset(keys)
        rows = [row for row, key in enumerate(self.keys) if key in wanted]
        return Embedded(tuple(self.keys[row] for row in rows), self.vectors[rows], self.seconds)


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of queries whose original is first or among the first ten, and the mean of 1 / its rank."""

    hit_at_1: float
    hit_at_10: float
    mean_average_precision: float

    def __str__(self) -> str:
        return f"{self.hit_at_1:.3f} / {self.hit_at_10:.3f} / {self.mean_average_precision:.3f}"


@dataclass(frozen=True, slots=True)
class Result:
    """One way to make vectors, what it costs, and how well it finds; `figures` by distortion."""

    encoder: str
    pooling: str
    fit: str
    views: str
    whitened: bool
    dimension: int
    bytes_a_vector: int
    pictures_a_second: float
    catalogue: int
    queries: int
    figures: dict[str, Figures]


class View:
    """An encoder that looks at each picture in another way."""

    def __init__(self, encoder: Encoder, change: Callable[[Pixels], Pixels]) -> None:
        self._encoder = encoder
        self._change = change
        self.spec, self.batch_size = encoder.spec, encoder.batch_size
        self.infer, self.finish, self.warm_up = encoder.infer, encoder.finish, encoder.warm_up

    def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Pixels:
        """As the encoder does, then changed."""
        return self._change(self._encoder.prepare(image, limits))


class Bench:
    """Embeds pictures with one encoder, each set once: vectors are kept in a folder."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._folder = folder / "vectors"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._encoder = encoder

    def catalogue(self, pictures: Pictures, views: str) -> Embedded:
        """Embed pictures as they are."""
        return self._views(pictures, views, "catalogue", pictures.read)

    def queries(self, pictures: Pictures, views: str, distortion: str) -> Embedded:
        """Embed pictures under a distortion."""
        kind = f"{distortion} {distortions.VERSION} {SEED}"
        return self._views(pictures, views, kind, lambda key: distorted(pictures.read(key), distortion, SEED))

    def copies(self, pictures: Pictures, kind: str, change: Callable[[bytes], bytes]) -> Embedded:
        """Embed pictures changed in a way of another benchmark; `kind` says it, with its version."""
        return self._kept(pictures, None, kind, lambda key: change(pictures.read(key)))

    def _views(self, pictures: Pictures, views: str, kind: str, read: Read) -> Embedded:
        first, *others = (self._kept(pictures, change, kind, read) for change in VIEWS[views])
        for other in others:
            first = first.added(other)
        return first

    def _kept(self, pictures: Pictures, change: Callable[[Pixels], Pixels] | None, kind: str, read: Read) -> Embedded:
        spec = self._encoder.spec
        view = change.__name__ if change else "plain"
        key = f"{spec.fingerprint} {spec.preprocessing.model_dump_json()} {view} {kind} {pictures.digest()}"
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as kept:
                return Embedded(tuple(kept["keys"].tolist()), kept["vectors"], float(kept["seconds"]))
        made = _embed(View(self._encoder, change) if change else self._encoder, pictures, read)
        np.savez(path, keys=np.array(made.keys), vectors=made.vectors, seconds=made.seconds)
        return made


def _embed(encoder: Encoder, pictures: Pictures, read: Read) -> Embedded:
    encoder.warm_up()
    start = time.perf_counter()
    batches = list(embed((ImageToEmbed(key, key) for key in pictures.files), encoder, read=read))
    seconds = time.perf_counter() - start
    keys = tuple(key for batch in batches for key in batch.keys)
    return Embedded(keys, np.concatenate([batch.vectors for batch in batches]), seconds)


def found(catalogue: Vectors, queries: Vectors, truth: Sequence[int], *, asked: int | None = None) -> Figures:
    """Compare each query with the whole catalogue; `truth` is the row of its original.

    Of `asked` queries those that are not among these had no vector, or their original has none: they find nothing.
    Where others are exactly as near as the original, the mean over all orders of them counts: an encoder that sees no
    difference finds nothing but by chance.
    """
    scores = queries @ catalogue.T
    own = scores[np.arange(len(truth)), truth][:, None]
    nearer, level = (scores > own).sum(axis=1), (scores == own).sum(axis=1)  # it is itself among those that are level
    first, ten = (np.clip(most - nearer, 0, level) / level for most in (1, 10))
    sums = np.cumsum([0.0, *(1 / np.arange(1, len(catalogue) + 1))])  # of 1 / rank, up to each rank
    reciprocal = (sums[nearer + level] - sums[nearer]) / level
    return Figures(*(float(each.sum() / (asked or len(truth))) for each in (first, ten, reciprocal)))


def mean(figures: Iterable[Figures]) -> Figures:
    """The mean over distortions."""
    rows = np.array([list(asdict(one).values()) for one in figures])
    return Figures(*rows.mean(axis=0).tolist())


def sources(names: Sequence[str], poolings: Sequence[str]) -> Iterator[EncoderSource]:
    """The encoders of these names, and those whose pooling can be chosen with each of these instead of their own."""
    for name in names:
        encoder = find_source(name)
        if isinstance(encoder, EfficientNetLite0) and poolings:
            yield from (type(encoder)(pooling=pooling) for pooling in POOLINGS if pooling in poolings)
        else:
            yield encoder


def opened(folder: Path, encoder: EncoderSource, fit: str | None, threads: int) -> OnnxEncoder:
    """Export an encoder, or find it exported, with its own way to fit pictures or this one."""
    store = open_store(str(folder))
    section = store_source(store, encoder)
    spec = EncoderSpec.model_validate_json(blobs.read(store, section.spec))
    if fit:
        fitted = Preprocessing.model_validate({**spec.preprocessing.model_dump(), "fit": fit})
        spec = spec.model_copy(update={"preprocessing": fitted})
    return OnnxEncoder(blobs.read(store, section.model), spec, threads=threads)


def results(
    bench: Bench, encoder: Encoder, pictures: Pictures, asked: Pictures, views: str, whiten: Sequence[int]
) -> Iterator[Result]:
    """Measure one encoder: its vectors as they are, and whitened as a reindex does that wants these dimensions."""
    catalogue = bench.catalogue(pictures, views)
    if unseen := len(pictures.files) - len(catalogue.keys):
        sys.stderr.write(f"{encoder.spec.name} sees nothing in {unseen} of {len(pictures.files)} pictures\n")
    rows = {key: row for row, key in enumerate(catalogue.keys)}
    queries = {name: bench.queries(asked, views, name).among(rows) for name in DISTORTIONS}
    built = {most: choose_dimension(len(rows), encoder.spec.dimension, most) for most in whiten}
    for most in (most for most, dimension in built.items() if dimension != most):
        whitens = f"whitens to {built[most]}" if built[most] else "does not whiten"
        sys.stderr.write(f"asked for {most} dimensions, a reindex of {len(rows)} pictures {whitens}\n")
    for dimension in dict.fromkeys((None, *built.values())):
        projection = learn(catalogue.vectors, dimension) if dimension else scale_to_unit_length
        known = projection(catalogue.vectors)
        figures = {
            name: found(known, projection(one.vectors), [rows[key] for key in one.keys], asked=len(asked.files))
            for name, one in queries.items()
        }
        yield Result(
            encoder=encoder.spec.name,
            pooling=encoder.spec.pooling,
            fit=encoder.spec.preprocessing.fit,
            views=views,
            whitened=dimension is not None,
            dimension=known.shape[1],
            bytes_a_vector=known.shape[1] * STORED_BYTES,
            pictures_a_second=round(len(pictures.files) / catalogue.seconds, 1),
            catalogue=len(catalogue.keys),
            queries=len(queries) * len(asked.files),
            figures={ALL: mean(figures.values()), **figures},
        )


def tables(measured: Sequence[Result]) -> str:
    """Markdown: what each way costs and finds in all, then hit@1 / hit@10 / mAP by distortion."""
    lines = [
        "| | encoder | pooling | fit | views | dimension | bytes a vector | pictures/s | hit@1 | hit@10 | mAP |",
        "|---" * 11 + "|",
    ]
    for number, one in enumerate(measured, 1):
        length = f"{one.dimension}, whitened" if one.whitened else str(one.dimension)
        cells = [number, one.encoder, one.pooling, one.fit, one.views, length, f"{one.bytes_a_vector:,}"]
        rates = str(one.figures[ALL]).split(" / ")
        lines.append(_line([*cells, one.pictures_a_second, *rates]))
    lines += ["", _line(["distortion", *range(1, len(measured) + 1)]), "|---" * (len(measured) + 1) + "|"]
    lines += [_line([name, *(one.figures[name] for one in measured)]) for name in (*DISTORTIONS, ALL)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def measure(arguments: argparse.Namespace) -> list[Result]:
    """Measure everything that the arguments ask for, telling on stderr what is being done."""
    pictures = Pictures.below(arguments.folder, arguments.catalogue)
    asked = pictures.sample(arguments.queries)
    done: list[Result] = []
    for origin in sources(arguments.encoders, arguments.poolings):
        for fit in arguments.fits or [None]:
            encoder = opened(arguments.cache, origin, fit, arguments.threads)
            bench = Bench(arguments.cache, encoder)
            for views in arguments.views:
                sys.stderr.write(f"{encoder.spec.name}, {encoder.spec.pooling}, {views}\n")
                done += results(bench, encoder, pictures, asked, views, arguments.whiten)
    return done


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description="Share of distorted pictures that find their original, by encoder.")
    parser.add_argument("folder", type=Path, help="pictures, in any sub-folders")
    parser.add_argument("--encoders", nargs="+", default=["efficientnet-lite0"], help="as `lookalike encoders list`")
    parser.add_argument("--whiten", nargs="*", type=int, default=[256], help="dimensions, at most")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["plain"], help="views that are averaged")
    parser.add_argument("--poolings", nargs="*", choices=POOLINGS, default=[], help="of efficientnet-lite")
    parser.add_argument("--fits", nargs="*", choices=["pad", "stretch", "crop"], default=[])
    parser.add_argument("--queries", type=int, default=500, help="pictures that are distorted, in each way")
    parser.add_argument("--catalogue", type=int, help="only so many pictures of the folder, evenly picked")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the model")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    kept = Path(tempfile.gettempdir()) / "lookalike-quality"
    parser.add_argument("--cache", type=Path, default=kept, help="for exported encoders and vectors")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parsed(argv)
    measured = measure(arguments)
    sys.stdout.write(f"{measured[0].catalogue} pictures, {measured[0].queries} queries\n\n{tables(measured)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in measured], indent=2) + "\n")


if __name__ == "__main__":
    main()
