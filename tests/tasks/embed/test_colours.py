"""Colours of pictures: measured where these are embedded, and once for those that were embedded before."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from lookalike.data.embeddings import HASH
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.snapshots.colours import COLOURS, open_colours
from lookalike.data.stores import open_store
from lookalike.tasks.build.colours import store_colours
from lookalike.tasks.embed.colours import find_pictures_without_colours, leave_out, measure_pictures
from lookalike.tasks.embed.work import embed_pictures
from lookalike.tasks.encoders.stored import store_encoder

SHOWN = ("red", "lime", "blue", "yellow", "black")


@pytest.fixture
def new_table(tmp_path: Path) -> Callable[[str], PartitionedTable]:
    numbers = itertools.count()
    return lambda name: PartitionedTable(tmp_path / f"{next(numbers)}-{name}")


def draw(folder: Path) -> pa.Table:
    """Write a disc in each colour; return the rows of a catalogue, the first of them twice."""
    files = []
    for name in SHOWN:
        image = Image.new("RGB", (90, 60), "white")
        ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill=name)
        files.append(folder / f"{name}.png")
        image.save(files[-1])
    files.append(files[0])
    hashes = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    columns = {"image_hash": pa.array(hashes, HASH), "image": [str(file) for file in files]}
    return pa.table({**columns, "image_version": ["1"] * len(files)})


def known(store: str) -> dict[bytes, str]:
    """Return the largest colour of each picture that has any."""
    hashes, shares = open_colours(open_store(store)).read()
    return {bytes(one): COLOURS[int(row.argmax())] for one, row in zip(hashes, shares, strict=True)}


def test_colours_are_measured_while_pictures_are_embedded(
    tmp_path: Path, new_table: Callable[[str], PartitionedTable]
) -> None:
    store, pictures = str(tmp_path / "store"), draw(tmp_path).slice(0, len(SHOWN))
    encoder = store_encoder(open_store(store), "fake")
    work = partial(embed_pictures, store=store, encoder=encoder, policy=FetchPolicy(), threads=1, device="cpu")
    assert work(pictures.slice(0, 2), colours=False).vectors == 2
    assert known(store) == {}
    assert work(pictures.slice(2)).vectors == 3
    assert list(known(store).values()).count("blue") == 1
    left = find_pictures_without_colours([pictures], open_store(store), new_table)
    assert (left.count, left.known) == (2, 3)


def test_pictures_without_colours_get_theirs_once(tmp_path: Path, new_table: Callable[[str], PartitionedTable]) -> None:
    store, products = str(tmp_path / "store"), draw(tmp_path)
    left = find_pictures_without_colours([products], open_store(store), new_table)
    assert left.count == len(SHOWN)
    (tmp_path / "lime.png").unlink()
    (tmp_path / "blue.png").write_bytes(b"something else")
    pictures = pa.concat_tables(left.pictures.tables())
    assert measure_pictures(pictures, store=store, policy=FetchPolicy()) == 3
    assert sorted(known(store).values()) == ["black", "red", "yellow"]
    assert find_pictures_without_colours([products], open_store(store), new_table).count == 2
    assert leave_out(pictures.slice(0, 1)) == 0


def test_what_cannot_be_decoded_is_read_once(tmp_path: Path, new_table: Callable[[str], PartitionedTable]) -> None:
    file = tmp_path / "text.png"
    file.write_bytes(b"this is no picture")
    image_hash = hashlib.sha256(file.read_bytes()).digest()
    store, columns = str(tmp_path / "store"), {"image_hash": pa.array([image_hash], HASH), "image": [str(file)]}
    products = pa.table({**columns, "image_version": ["1"]})
    measure_pictures(products, store=store, policy=FetchPolicy())
    assert find_pictures_without_colours([products], open_store(store), new_table).count == 0
    shares = np.load(tmp_path / "store" / store_colours(open_store(store), products).key)
    assert not shares.any()


def test_a_shard_has_the_colours_of_its_products_and_none_where_they_are_not_known(tmp_path: Path) -> None:
    store, products = str(tmp_path / "store"), draw(tmp_path)
    measure_pictures(products.slice(0, 3), store=store, policy=FetchPolicy())
    blob = store_colours(open_store(store), products)
    shares = np.load(tmp_path / "store" / blob.key)
    assert shares.shape == (len(products), len(COLOURS))
    assert shares.dtype == np.uint8
    assert [COLOURS[row.argmax()] if row.any() else None for row in shares] == [
        "red",
        "green",
        "blue",
        None,
        None,
        "red",
    ]
