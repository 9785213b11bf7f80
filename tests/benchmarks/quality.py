"""Which encoder finds a picture again after what phones and screenshots do to it, and at what price.

    python -m tests.benchmarks.quality FOLDER --encoders efficientnet-lite0 efficientnet-lite2 [--whiten 256]
        [--learn 150] [--views plain flip] [--poolings avg gem3] [--queries 500] [--output FILE]

Takes any folder of pictures, distorts some of them in each way of `distortions.py`, and looks for the originals among
all. Prints Markdown tables: hit@1, hit@10 and mAP for each encoder and each distortion, beside dimension, bytes a
vector and pictures embedded a second, reading and decoding included. A query has one right answer, so mAP is the mean
reciprocal rank. Queries in which the encoder sees nothing find nothing, nor do those whose original it does not see.
Files that show the same, pixel by pixel, count as one picture, and those that the product cannot decode as none.

Whitening is the index's own, learnt on the catalogue's vectors, and to no more dimensions than a reindex of so many
pictures would take: to a half of what is asked for, or a half of that, or not at all. So is the projection that is
learnt from distorted copies of pictures that no query shows, by the product's augmentations. It is measured as it is,
and once more where each distortion meets a projection that was learnt without augmentations like it.

Exported encoders and vectors are kept in a temporary folder, so a second run with other dimensions costs seconds.
Everything but the rate is the same on every run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.tasks.encoders.base import Encoder, EncoderSource, scale_to_unit_length
from lookalike.tasks.encoders.efficientnet_lite import POOLINGS, EfficientNetLite0
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.search.projection import choose_dimension, learn
from tests.benchmarks.distortions import DISTORTIONS
from tests.benchmarks.embedded import VIEWS, Bench, Embedded, Pictures, Vectors, opened
from tests.benchmarks.learning import ALIKE, Copies, choose_others
from tests.benchmarks.results import add_output, write_result, write_table

STORED_BYTES = 2  # of one number, as the store holds vectors: float16
ALL = "all"

AS_THEY_ARE = ""
WHITENED = "whitened"
LEARNT = "learnt"
LEFT_OUT = "learnt without its own kind"

Place = Callable[[Vectors], Vectors]
"""Puts vectors (n, d) into the space of an index."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of queries whose original is first or among the first ten, and the mean of 1 / its rank."""

    hit_at_1: float
    hit_at_10: float
    mean_average_precision: float


@dataclass(frozen=True, slots=True)
class Result:
    """One way to make vectors, what it costs, and how well it finds; `figures` by distortion."""

    encoder: str
    pooling: str
    fit: str
    views: str
    space: str
    dimension: int
    bytes_a_vector: int
    pictures_a_second: float
    catalogue: int
    queries: int
    figures: dict[str, Figures]


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


def results(
    bench: Bench,
    encoder: Encoder,
    pictures: Pictures,
    asked: Pictures,
    views: str,
    whiten: Sequence[int],
    copies: Copies | None = None,
) -> Iterator[Result]:
    """Measure one encoder: its vectors as they are, and projected as a reindex does that wants these dimensions."""
    catalogue = bench.catalogue(pictures, views)
    if unseen := len(pictures.files) - len(catalogue.keys):
        sys.stderr.write(f"{encoder.spec.name} sees nothing in {unseen} of {len(pictures.files)} pictures\n")
    rows = {key: row for row, key in enumerate(catalogue.keys)}
    queries = {name: bench.queries(asked, views, name).among(rows) for name in DISTORTIONS}
    for space, places in spaces(catalogue, encoder.spec.dimension, whiten, copies):
        placed = {id(place): place(catalogue.vectors) for place in places.values()}
        figures = {
            name: found(
                placed[id(place)],
                place(queries[name].vectors),
                [rows[key] for key in queries[name].keys],
                asked=len(asked.files),
            )
            for name, place in places.items()
        }
        dimension = next(iter(placed.values())).shape[1]
        yield Result(
            encoder=encoder.spec.name,
            pooling=encoder.spec.pooling,
            fit=encoder.spec.preprocessing.fit,
            views=views,
            space=space,
            dimension=dimension,
            bytes_a_vector=dimension * STORED_BYTES,
            pictures_a_second=round(len(pictures.files) / catalogue.seconds, 1),
            catalogue=len(catalogue.keys),
            queries=len(queries) * len(asked.files),
            figures={ALL: mean(figures.values()), **figures},
        )


def spaces(
    catalogue: Embedded, dimension: int, asked: Sequence[int], copies: Copies | None
) -> Iterator[tuple[str, Mapping[str, Place]]]:
    """Yield each space by name, with what places the vectors of each distortion's queries, and the catalogue's, in it.

    Args:
        dimension: of the encoder.
        asked: dimensions of projections, at most.
        copies: to learn from; None for whitening alone.
    """
    yield AS_THEY_ARE, dict.fromkeys(DISTORTIONS, scale_to_unit_length)
    count = len(catalogue.keys)
    for outputs in _choose_dimensions(asked, lambda most: choose_dimension(count, dimension, most)):
        yield WHITENED, dict.fromkeys(DISTORTIONS, learn(catalogue.vectors, outputs))
    if copies is None:
        return
    for outputs in _choose_dimensions(
        asked, lambda most: choose_dimension(count, dimension, most, distorted=copies.count)
    ):
        yield LEARNT, dict.fromkeys(DISTORTIONS, learn(catalogue.vectors, outputs, copies.differences()))
        yield (
            LEFT_OUT,
            {name: learn(catalogue.vectors, outputs, copies.differences(ALIKE[name])) for name in DISTORTIONS},
        )


def _choose_dimensions(asked: Sequence[int], choose: Callable[[int], int | None]) -> list[int]:
    """Return the dimensions that a reindex takes where these are asked for, each once; say where they are others."""
    built = {most: choose(most) for most in asked}
    for most in (most for most, dimension in built.items() if dimension != most):
        projects = f"projects to {built[most]}" if built[most] else "does not project"
        sys.stderr.write(f"asked for {most} dimensions, a reindex of so many pictures {projects}\n")
    return list(dict.fromkeys(dimension for dimension in built.values() if dimension))


def table(figures: Sequence[dict[str, Any]]) -> str:
    """Return what each way costs and finds in all, then hit@1 / hit@10 of each encoder by distortion, as Markdown."""
    keys = ("encoder", *_find_differing(figures))
    ways = {tuple(one[name] for name in keys): None for one in figures}
    groups = [[one for one in figures if tuple(one[name] for name in keys) == way] for way in ways]
    return "\n\n".join([summary_table(figures), *map(_by_distortion, groups)])


def summary_table(figures: Sequence[dict[str, Any]]) -> str:
    """Return what each way costs and finds in all, as Markdown."""
    first, told = figures[0], _find_differing(figures)
    columns = ["encoder", *told, "vectors", "bytes", "pictures/s", "hit@1", "hit@10", "mAP"]
    rows = [
        [
            one["encoder"],
            *(one[name] for name in told),
            f"{one['space'] or 'as they are'}, {one['dimension']}",
            f"{one['bytes_a_vector']:,}",
            f"{one['pictures_a_second']:.1f}",
            *(f"{share:.3f}" for share in one["figures"][ALL].values()),
        ]
        for one in figures
    ]
    said = f"{first['queries']:,} queries among {first['catalogue']:,} pictures."
    return f"{said}\n\n{write_table(columns, rows)}"


def _find_differing(figures: Sequence[dict[str, Any]]) -> list[str]:
    return [name for name in ("pooling", "fit", "views") if any(one[name] != figures[0][name] for one in figures)]


def _by_distortion(group: Sequence[dict[str, Any]]) -> str:
    columns = [group[0]["encoder"], *(f"{one['space'] or 'as they are'}, {one['dimension']}" for one in group)]
    rows = [
        [name, *(f"{one['figures'][name]['hit_at_1']:.3f} / {one['figures'][name]['hit_at_10']:.3f}" for one in group)]
        for name in (*DISTORTIONS, ALL)
    ]
    return write_table(columns, rows)


def measure(arguments: argparse.Namespace) -> list[Result]:
    """Measure everything that the arguments ask for, telling on stderr what is being done."""
    pictures = Pictures.below(arguments.folder, arguments.catalogue)
    asked = pictures.sample(arguments.queries)
    done: list[Result] = []
    for origin in sources(arguments.encoders, arguments.poolings):
        for fit in arguments.fits or [None]:
            encoder = opened(arguments.cache, origin, fit, arguments.threads)
            bench = Bench(arguments.cache, encoder)
            others = choose_others(pictures, asked, arguments.learn)
            copies = Copies(bench, others) if others.files else None
            for views in arguments.views:
                sys.stderr.write(f"{encoder.spec.name}, {encoder.spec.pooling}, {views}\n")
                done += results(
                    bench, encoder, pictures, asked, views, arguments.whiten, copies if views == "plain" else None
                )
    return done


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description="Share of distorted pictures that find their original, by encoder.")
    parser.add_argument("folder", type=Path, help="pictures, in any sub-folders")
    parser.add_argument("--encoders", nargs="+", default=["efficientnet-lite0"], help="as `lookalike encoders list`")
    parser.add_argument("--whiten", nargs="*", type=int, default=[256], help="dimensions, at most")
    parser.add_argument("--learn", type=int, default=150, help="pictures to learn from, at most; 0: none")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["plain"], help="views that are averaged")
    parser.add_argument("--poolings", nargs="*", choices=POOLINGS, default=[], help="of efficientnet-lite")
    parser.add_argument("--fits", nargs="*", choices=["pad", "stretch", "crop"], default=[])
    parser.add_argument("--queries", type=int, default=500, help="pictures that are distorted, in each way")
    parser.add_argument("--catalogue", type=int, help="only so many pictures of the folder, evenly picked")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the model")
    add_output(parser)
    kept = Path(tempfile.gettempdir()) / "lookalike-quality"
    parser.add_argument("--cache", type=Path, default=kept, help="for exported encoders and vectors")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parsed(argv)
    figures = [asdict(one) for one in measure(arguments)]
    sys.stdout.write(f"{table(figures)}\n")
    if arguments.output:
        write_result(arguments.output, figures)


if __name__ == "__main__":
    main()
