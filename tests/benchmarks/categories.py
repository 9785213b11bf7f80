"""How often the nearest products of a product are of its category, in each space.

    python -m tests.benchmarks.categories FOLDER/products.csv [--column category] [--whiten 256]
        [--learn 150] [--output FILE]

The catalogue has the columns `image`, a path from its folder, and a category. For each picture, the ten nearest others
are found; the figure is the mean share of them that are of the same category. A projection that finds distorted
pictures by forgetting what products are would show here.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.encoders.base import scale_to_unit_length
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.search.projection import learn
from tests.benchmarks.embedded import Bench, Pictures, Vectors, opened
from tests.benchmarks.learning import Copies, choose_others
from tests.benchmarks.results import add_output, write_result, write_table

NEAREST = 10


def compute_share(placed: Vectors, categories: NDArray[np.str_]) -> float:
    """Return the mean share of the nearest others of (n, d) vectors that are of the same of (n,) categories."""
    scores = placed @ placed.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]
    return float((categories[nearest] == categories[:, None]).mean())


def read_categories(catalogue: Path, column: str) -> dict[str, str]:
    """Return the category of each picture, by the sha256 of its file."""
    with catalogue.open(newline="") as file:
        rows = [(catalogue.parent / row["image"], row[column]) for row in csv.DictReader(file)]
    return {hashlib.sha256(path.read_bytes()).hexdigest(): category for path, category in rows}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the share in each space."""
    pictures = Pictures.below(arguments.catalogue.parent, None)
    bench = Bench(arguments.cache, opened(arguments.cache, find_source(arguments.encoder), None, arguments.threads))
    catalogue = bench.catalogue(pictures, "plain")
    known = read_categories(arguments.catalogue, arguments.column)
    categories = np.array([known[key] for key in catalogue.keys])
    copies = Copies(bench, choose_others(pictures, Pictures({}), arguments.learn))
    spaces: dict[str, Callable[[Vectors], Vectors]] = {
        "as they are": scale_to_unit_length,
        "whitened": learn(catalogue.vectors, arguments.whiten),
        "learnt": learn(catalogue.vectors, arguments.whiten, copies.differences()),
    }
    shares = {name: compute_share(place(catalogue.vectors), categories) for name, place in spaces.items()}
    return {"pictures": len(catalogue.keys), "nearest": NEAREST, "dimension": arguments.whiten, "shares": shares}


def table(figures: dict[str, Any]) -> str:
    """Return the share in each space, as Markdown."""
    rows = [[name, f"{share:.3f}"] for name, share in figures["shares"].items()]
    return write_table(["vectors", f"of the {figures['nearest']} nearest, of the same category"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Share of the ten nearest that are of the same category.")
    parser.add_argument("catalogue", type=Path, help="a CSV with the columns image and the category")
    parser.add_argument("--column", default="category")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--whiten", type=int, default=256, help="dimensions")
    parser.add_argument("--learn", type=int, default=150, help="pictures to learn from, at most")
    parser.add_argument("--threads", type=int, default=2, help="of the model")
    add_output(parser)
    kept = Path(tempfile.gettempdir()) / "lookalike-quality"
    parser.add_argument("--cache", type=Path, default=kept, help="for exported encoders and vectors")
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    sys.stdout.write(f"{table(figures)}\n")
    if arguments.output:
        write_result(arguments.output, figures)


if __name__ == "__main__":
    main()
