"""How long filters, facets and orders take over a million rows, beside the same comparison of Arrow's own columns.

    python -m tests.benchmarks.filters [--rows 1000000]

Prints a Markdown table: the best of several tries in milliseconds, on one thread. `Arrow` compares the columns as
Parquet gives them, which is what filters did before they had columns of their own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.snapshots.products import Products
from lookalike.serving.search.facets import count_values
from lookalike.tasks.search.filters import match_products, parse
from lookalike.tasks.search.order import REACH, parse_order, sort_rows
from tests.benchmarks.results import add_output, write_result, write_table

ORDERS = ("price:asc", "price:desc", "stock:desc", "at:desc")
TRIES = 7
BRANDS = 200
FIRST = 24

FILTERS: dict[str, Callable[[pa.StructArray], pa.Array] | None] = {
    "brand=brand 7": lambda table: pc.equal(table.field("brand"), "brand 7"),
    "price<=50": lambda table: pc.less_equal(table.field("price"), 50.0),
    "stock>=50": lambda table: pc.greater_equal(table.field("stock"), 50),
    "sku=sku-999999": lambda table: pc.equal(table.field("sku"), "sku-999999"),
    "brand in brand 1,brand 2,brand 3,brand 4,brand 5,brand 6": None,
    "brand>=brand 5": None,
    "at=2022-01-01": None,
    "tags=brand 7": None,
    "stock is null": None,
}


def attributes(rows: int) -> pa.StructArray:
    """Return random attributes: text with few and with only different values, numbers, moments and lists."""
    random = np.random.default_rng(0)
    names = np.array([f"brand {number}" for number in range(BRANDS)], object)
    columns = {
        "brand": pa.array(names[random.integers(0, BRANDS, rows)].tolist()),
        "sku": pa.array([f"sku-{number}" for number in range(rows)]),
        "price": pa.array(random.uniform(0, 100, rows).round(2)),
        "stock": pa.array(random.integers(0, 100, rows), mask=random.random(rows) < 0.1),
        "at": pa.array(random.integers(1_600_000_000, 1_700_000_000, rows) * 1_000_000).cast(pa.timestamp("us", "UTC")),
        "tags": pa.ListArray.from_arrays(
            pa.array(np.arange(0, 2 * rows + 1, 2, dtype=np.int32)),
            pa.array(names[random.integers(0, BRANDS, 2 * rows)].tolist()),
        ),
    }
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def best(work: Callable[[], object]) -> float:
    """Return the milliseconds of the fastest try."""
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def measure(rows: int) -> dict[str, Any]:
    """Return the milliseconds of each filter, facet and order over so many rows."""
    pa.set_cpu_count(1)
    table = attributes(rows)
    products = Products.of(pa.table({"id": pa.array([str(row) for row in range(rows)]), "attributes": table}))
    half = match_products(products, [parse("price<=50")])
    hits = np.zeros(rows, bool)
    hits[np.random.default_rng(1).choice(rows, REACH, replace=False)] = True
    listed, near = np.flatnonzero(half), np.flatnonzero(hits)
    return {
        "rows": rows,
        "filters": {
            text: {
                "arrow_ms": compare and best(lambda: _as_mask(compare(table))),  # noqa: B023 - called at once
                "ms": best(lambda: match_products(products, [parse(text)])),  # noqa: B023
            }
            for text, compare in FILTERS.items()
        },
        "facets": {
            name: {
                "half_ms": best(lambda: count_values(products, name, half)),  # noqa: B023
                "hits_ms": best(lambda: count_values(products, name, hits)),  # noqa: B023
            }
            for name in products.columns
        },
        "orders": {
            text: {
                "half_ms": best(lambda: sort_rows(products, listed, parse_order(text), FIRST)),  # noqa: B023
                "hits_ms": best(lambda: sort_rows(products, near, parse_order(text), FIRST)),  # noqa: B023
            }
            for text in ORDERS
        },
    }


def table(figures: dict[str, Any]) -> str:
    """Return three tables as Markdown."""
    filters = [
        [f"`{text}`", "" if one["arrow_ms"] is None else f"{one['arrow_ms']:.1f}", f"{one['ms']:.2f}"]
        for text, one in figures["filters"].items()
    ]
    ways = {"facet": "facets", f"order, the first {FIRST}": "orders"}
    return "\n\n".join(
        [
            write_table(["filter", "Arrow, ms", "ms"], filters),
            *(
                write_table(
                    [what, "of half of the rows, ms", f"of {REACH} hits, ms"],
                    [
                        [f"`{name}`", f"{one['half_ms']:.1f}", f"{one['hits_ms']:.2f}"]
                        for name, one in figures[key].items()
                    ],
                )
                for what, key in ways.items()
            ),
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Filters, facets and orders over many rows, in milliseconds.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    add_output(parser)
    given = parser.parse_args(argv)
    figures = measure(given.rows)
    sys.stdout.write(f"{table(figures)}\n")
    if given.output:
        write_result(given.output, figures)


def _as_mask(found: pa.Array) -> object:
    return np.asarray(pc.fill_null(found, False))


if __name__ == "__main__":
    main()
