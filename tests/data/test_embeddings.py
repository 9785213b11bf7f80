"""Reading the vectors that a catalogue needs out of a store that holds many more."""

from __future__ import annotations

import shutil
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.data.embeddings import Embeddings
from lookalike.data.stores.local import LocalStore

FILES = 20
ROWS = 1000
DIMENSION = 128


@pytest.fixture(scope="module")
def hashes() -> NDArray[np.bytes_]:
    random = np.random.default_rng(0)
    return np.frombuffer(random.bytes(32 * FILES * ROWS), "V32").reshape(FILES, ROWS)


@pytest.fixture(scope="module")
def folder(hashes: NDArray[np.bytes_], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What twenty nights added, each all over the hashes; each vector says of which file and row it is."""
    folder = tmp_path_factory.mktemp("store")
    embeddings = Embeddings(LocalStore(folder), "f")
    for number, some in enumerate(hashes):
        vectors = np.zeros((ROWS, DIMENSION), np.float32)
        vectors[:, 0], vectors[:, 1] = number, np.arange(ROWS)
        embeddings.write([bytes(one) for one in some], vectors)
    return folder


@pytest.fixture
def embeddings(folder: Path) -> Embeddings:
    return Embeddings(LocalStore(folder), "f")


def peak_of_reading(embeddings: Embeddings, wanted: NDArray[np.bytes_] | None) -> int:
    tracemalloc.start()
    embeddings.read(wanted=wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_what_is_wanted_is_found_and_the_rest_takes_no_memory(
    embeddings: Embeddings, hashes: NDArray[np.bytes_]
) -> None:
    wanted = np.sort(hashes[:, :3].ravel())
    known, vectors = embeddings.read(wanted=wanted)
    np.testing.assert_array_equal(known, wanted)
    for one, vector in zip(known, vectors, strict=True):
        assert hashes[int(vector[0]), int(vector[1])] == one
    assert peak_of_reading(embeddings, wanted) < peak_of_reading(embeddings, None) / 2  # some files at a time


def test_in_a_range(embeddings: Embeddings, hashes: NDArray[np.bytes_]) -> None:
    everything = np.sort(hashes.ravel())
    inside = [one for one in everything if 2**30 <= int.from_bytes(bytes(one)[:4], "big") < 2**31]
    assert [bytes(one) for one in embeddings.read(2**30, 2**31)[0]] == [bytes(one) for one in inside]
    some = np.array([everything[0], *inside[:5], everything[-1]], "V32")
    assert [bytes(one) for one in embeddings.read(2**30, 2**31, some)[0]] == [bytes(one) for one in inside[:5]]


def test_nothing_is_wanted(embeddings: Embeddings) -> None:
    known, vectors = embeddings.read(wanted=np.empty(0, "V32"))
    assert (len(known), len(vectors)) == (0, 0)


class Counting(LocalStore):
    """A store that counts what is read of it."""

    reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        return super().read(key)


@pytest.mark.parametrize("ranges", [1, 16])
def test_what_lies_over_many_ranges_is_read_once(
    ranges: int, folder: Path, hashes: NDArray[np.bytes_], tmp_path: Path
) -> None:
    """Each range gives what it gives alone, also where a file lies in one of them, and one picture is wanted twice."""
    store = Counting(shutil.copytree(folder, tmp_path / "store"))
    embeddings = Embeddings(store, "f")
    everything = np.sort(hashes[:, :200].ravel())
    embeddings.write([bytes(one) for one in everything[:10]], np.full((10, DIMENSION), 7, np.float32))
    store.reads = 0
    wanted = np.sort(np.concatenate([everything, everything[:3]]))
    edges = np.linspace(0, 2**32, ranges + 1, dtype=np.int64).tolist()
    read = list(embeddings.read_ranges(edges, wanted))
    assert store.reads == FILES + 1
    for (known, vectors), (start, stop) in zip(read, pairwise(edges), strict=True):
        alone = embeddings.read(start, stop, everything)
        np.testing.assert_array_equal(known, alone[0])
        np.testing.assert_array_equal(vectors[10:], alone[1][10:])
    assert sum(len(known) for known, _ in read) == len(everything)
