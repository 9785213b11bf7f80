"""Distorted copies of some pictures: embedded once, and only of pictures that can be read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lookalike.data.catalogue.normalised import LocalCatalogue
from lookalike.data.embeddings import DISTORTED, HASH, Embeddings
from lookalike.data.errors import CorruptError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build.differences import read_differences
from lookalike.tasks.embed.distorted import (
    choose_pictures,
    count_distorted,
    cut_partitions,
    embed_distorted,
    find_distorted,
    leave_out,
)
from lookalike.tasks.embed.work import embed_pictures
from lookalike.tasks.encoders.stored import store_encoder
from lookalike.tasks.images.augmentations import AUGMENTATIONS
from tests.support.pictures import write_catalogue

COUNT = 5
POLICY = FetchPolicy()


class Shop:
    """A store, an encoder in it, and pictures in a folder."""

    def __init__(self, folder: Path) -> None:
        write_catalogue(folder / "pictures", COUNT)
        self.uri = str(folder / "store")
        self.encoder: EncoderSection = store_encoder(self.store, "fake")
        self.files = sorted((folder / "pictures").rglob("*.png"))
        hashes = [hashlib.sha256(file.read_bytes()).digest() for file in self.files]
        self.pictures = pa.table({"image_hash": pa.array(hashes, HASH), "image": list(map(str, self.files))})

    @property
    def store(self) -> ObjectStore:
        return open_store(self.uri)

    def embed(self, pictures: pa.Table) -> int:
        return embed_distorted(pictures, store=self.uri, encoder=self.encoder, policy=POLICY, threads=1, device="cpu")

    def embed_originals(self) -> None:
        embed_pictures(self.pictures, store=self.uri, encoder=self.encoder, policy=POLICY, threads=1, device="cpu")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_each_picture_has_a_copy_of_each_kind(shop: Shop) -> None:
    assert not find_distorted(shop.store, shop.encoder, shop.pictures).any()
    assert shop.embed(shop.pictures) == COUNT
    assert find_distorted(shop.store, shop.encoder, shop.pictures).all()
    names, vectors = Embeddings(shop.store, shop.encoder.fingerprint, DISTORTED).read()
    assert vectors.shape == (COUNT * len(AUGMENTATIONS), shop.encoder.dimension)
    assert len(np.unique(names)) == len(names)


def test_what_a_killed_run_embedded_is_known_and_pictures_have_no_more_vectors(shop: Shop) -> None:
    shop.embed(shop.pictures.slice(0, 2))
    assert find_distorted(shop.store, shop.encoder, shop.pictures).tolist() == [True, True, False, False, False]
    assert not len(Embeddings(shop.store, shop.encoder.fingerprint).read()[0])


def test_pictures_that_are_gone_changed_or_damaged_are_left_out(shop: Shop) -> None:
    shop.files[0].unlink()
    shop.files[1].write_bytes(shop.files[2].read_bytes())
    broken = b"no picture"
    shop.files[3].write_bytes(broken)
    hashes = shop.pictures["image_hash"].to_pylist()
    hashes[3] = hashlib.sha256(broken).digest()
    pictures = shop.pictures.set_column(0, "image_hash", pa.array(hashes, HASH))
    assert shop.embed(pictures) == 2
    assert find_distorted(shop.store, shop.encoder, pictures).tolist() == [False, False, True, False, True]
    assert shop.embed(pictures.slice(0, 2)) == 0
    assert leave_out(pictures.slice(0, 1)) == 0


def test_the_same_pictures_give_the_same_vectors(shop: Shop, tmp_path: Path) -> None:
    shop.embed(shop.pictures)
    other = Shop(tmp_path / "other")
    for part in other.pictures.slice(2), other.pictures.slice(0, 2):
        other.embed(part)
    one, another = (Embeddings(each.store, each.encoder.fingerprint, DISTORTED).read() for each in (shop, other))
    np.testing.assert_array_equal(one[0], another[0])
    np.testing.assert_allclose(one[1].astype(float), another[1].astype(float), atol=1e-3)


def test_differences_are_those_of_copies_from_their_own_pictures(shop: Shop) -> None:
    shop.embed_originals()
    shop.embed(shop.pictures)
    hashes = shop.pictures["image_hash"].to_pylist()
    differences = read_differences(shop.store, shop.encoder, hashes)
    assert differences.shape == (COUNT * len(AUGMENTATIONS), shop.encoder.dimension)
    np.testing.assert_array_equal(differences, read_differences(shop.store, shop.encoder, hashes[::-1]))
    lengths = np.linalg.norm(differences, axis=1)
    originals = Embeddings(shop.store, shop.encoder.fingerprint).lookup(np.array(hashes, "V32")).astype(np.float32)
    apart = np.linalg.norm(originals[:, None] - originals[None], axis=2)[np.triu_indices(COUNT, 1)]
    assert 0 < np.median(lengths) < np.median(apart)


def test_differences_of_copies_that_were_lost_are_an_error(shop: Shop) -> None:
    shop.embed_originals()
    shop.embed(shop.pictures.slice(1))
    with pytest.raises(CorruptError, match="run again"):
        read_differences(shop.store, shop.encoder, shop.pictures["image_hash"].to_pylist())


@pytest.mark.parametrize(
    ("pictures", "most", "count"),
    [
        (1, 150, 0),
        (9, 150, 0),
        (10, 150, 10),
        (49, 150, 49),
        (1_520, 150, 76),
        (2_500, 150, 125),
        (10_000_000, 150, 150),
        (500, 0, 0),
        (500, 20, 20),
    ],
)
def test_a_few_pictures_are_enough(pictures: int, most: int, count: int) -> None:
    assert count_distorted(pictures, most) == count


def test_workers_take_a_few_pictures_at_a_time(shop: Shop) -> None:
    many = pa.concat_tables([shop.pictures] * 4)
    parts = list(cut_partitions(many))
    assert pa.concat_tables(parts).equals(many)
    assert max(part.num_rows for part in parts) < COUNT * 4
    assert not list(cut_partitions(many.slice(0, 0)))


@pytest.mark.parametrize("count", [1, 7, 50, 60])
def test_the_first_different_pictures_are_chosen(count: int, tmp_path: Path) -> None:
    hashes = sorted(hashlib.sha256(bytes([number])).digest() for number in range(50))
    shown = sorted(hashes * 3)
    columns = {name: [f"{number}" for number in range(150)] for name in ("id", "title", "image")}
    products = pa.table({**columns, "image_version": ["1"] * 150, "image_hash": pa.array(shown, HASH)})
    catalogue = LocalCatalogue(tmp_path, [products])
    catalogue.store(open_store(str(tmp_path / "store")))
    chosen = choose_pictures(str(tmp_path / "store"), catalogue.id, 150, count)
    assert chosen["image_hash"].to_pylist() == hashes[:count]
