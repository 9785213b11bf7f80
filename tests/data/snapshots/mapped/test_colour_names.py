"""The attribute `colour`: the main colours of pictures, where a catalogue says nothing of them itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.colours import COLOURS, list_main_colours, shares_to_bytes
from lookalike.data.snapshots.mapped.colour_names import write_colour_names
from lookalike.data.snapshots.mapped.shard_products import write_columns
from lookalike.data.snapshots.products import Products
from lookalike.tasks.search.filters import match_products, parse

SHOWN: list[dict[str, float]] = [
    {"red": 0.7, "white": 0.3},
    {"white": 0.3, "red": 0.7},
    {},
    {"blue": 0.19, "black": 0.15, "green": 0.15, "pink": 0.15, "orange": 0.15, "grey": 0.15},
    {"blue": 0.25, "black": 0.25, "green": 0.25, "pink": 0.25},
]


def make_shares() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shares = np.zeros((len(SHOWN), len(COLOURS)), np.uint8)
    for row, shown in enumerate(SHOWN):
        for name, share in shown.items():
            shares[row, COLOURS.index(name)] = round(share * 255)
    return shares


def open_products(folder: Path, attributes: dict[str, list[str]] | None, parts: int = 1) -> Products:
    """Write the products with their colours, and open them as a server does."""
    files, names = [], []
    for number in range(parts):
        file = folder / f"{number}.parquet"
        table = pa.table({"id": [f"{number}-{row}" for row in range(len(SHOWN))]})
        if attributes:
            struct = pa.StructArray.from_arrays([pa.array(values) for values in attributes.values()], list(attributes))
            table = table.append_column("attributes", struct)
        for name in ("title", "image"):
            table = table.append_column(name, pa.array(["x"] * len(SHOWN)))
        table = table.append_column(
            "image_hash", pa.array([bytes([row]) * 32 for row in range(len(SHOWN))], pa.binary(32))
        )
        pq.write_table(table, file)
        (folder / f"{number}.npy").write_bytes(shares_to_bytes(make_shares()))
        write_columns(file, folder / f"{number}.columns")
        write_colour_names(folder / f"{number}.npy", folder / f"{number}.colours")
        files.append(folder / f"{number}.columns")
        names.append(folder / f"{number}.colours")
    return Products.open(files, None, names)


def test_main_colours_are_the_large_ones_and_at_least_the_largest() -> None:
    assert list_main_colours(make_shares()).to_pylist() == [
        ["red", "white"],
        ["red", "white"],
        None,
        ["blue"],
        ["black", "green", "blue"],
    ]
    assert list_main_colours(make_shares()[:0]).to_pylist() == []


@pytest.mark.parametrize("attributes", [None, {"brand": ["a", "b", "a", "b", "a"]}])
def test_products_are_filtered_and_shown_by_their_main_colours(
    attributes: dict[str, list[str]] | None, tmp_path: Path
) -> None:
    products = open_products(tmp_path, attributes, parts=2)
    assert list(products.attributes)[-1] == "colour"
    shown = products.take([0, 2, 5])
    assert [product.attributes["colour"] for product in shown] == [["red", "white"], None, ["red", "white"]]
    for text, rows in {"colour=red": [0, 1, 5, 6], "colour is null": [2, 7], "colour!=white": [3, 4, 8, 9]}.items():
        found = np.flatnonzero(match_products(products, [parse(text)]))
        assert set(rows) <= set(found.tolist()), text
    assert products.take([0], names=["colour"])[0].attributes == {"colour": ["red", "white"]}


@pytest.mark.parametrize("name", ["colour", "color", "Color", "COLOUR"])
def test_a_catalogue_keeps_its_own_colours(name: str, tmp_path: Path) -> None:
    products = open_products(tmp_path, {name: ["navy"] * len(SHOWN)})
    assert list(products.attributes) == [name]
    assert products.take([0])[0].attributes == {name: "navy"}


def test_damaged_colours_are_refused(tmp_path: Path) -> None:
    for damaged in (b"", b"no array", shares_to_bytes(make_shares()[:, :5])):
        (tmp_path / "bad").write_bytes(damaged)
        with pytest.raises(CorruptError, match="colours"):
            write_colour_names(tmp_path / "bad", tmp_path / "out")
    open_products(tmp_path, None)
    (tmp_path / "few").write_bytes(shares_to_bytes(make_shares()[:3]))
    write_colour_names(tmp_path / "few", tmp_path / "few.colours")
    with pytest.raises(CorruptError, match="colours for 3 of 5"):
        Products.open([tmp_path / "0.columns"], None, [tmp_path / "few.colours"])
