"""What one file may take says nothing about the next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest

from lookalike.tasks.build.shard import add_vectors
from lookalike.tasks.build.train import train_index
from lookalike.tasks.search.faiss_io import read_bytes, read_mapped


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = faiss.IndexFlatIP(16)
    index.add(np.ones((10, 16), np.float32))
    file = tmp_path_factory.mktemp("reading") / "small.faiss"
    faiss.write_index(index, str(file))
    return file


@pytest.fixture(scope="module")
def large() -> bytes:
    index = faiss.IndexFlatIP(256)
    index.add(np.ones((4096, 256), np.float32))
    return bytes(faiss.serialize_index(index).tobytes())


def test_a_small_file_sets_no_limit_to_a_large_one(small: Path, large: bytes) -> None:
    before = faiss.get_deserialization_vector_byte_limit()
    assert read_mapped(small).ntotal == 10
    assert read_bytes(large).ntotal == 4096
    assert faiss.get_deserialization_vector_byte_limit() == before


def test_not_at_the_same_time_either(small: Path, large: bytes) -> None:
    with ThreadPoolExecutor(4) as pool:
        mapped = [pool.submit(read_mapped, small) for _ in range(200)]
        read = [pool.submit(read_bytes, large) for _ in range(20)]
    assert {one.result().ntotal for one in mapped} == {10}
    assert {one.result().ntotal for one in read} == {4096}


def test_tables_that_are_worked_out_from_a_file_may_be_larger(tmp_path: Path) -> None:
    """As in a trained index without any rows yet, and in one of many shards with a few in each list."""
    vectors = np.random.default_rng(1).standard_normal((2048, 256), np.float32)
    trained = train_index("IVF512,PQ64x4fs,Refine(SQ8)", vectors, threads=1)
    index = read_bytes(trained)
    add_vectors(index, vectors[:10], 0, 10)
    faiss.write_index(index, str(tmp_path / "shard.faiss"))
    assert read_mapped(tmp_path / "shard.faiss").ntotal == 10


def test_a_forged_length_is_refused(large: bytes) -> None:
    at = large.index((4096 * 256).to_bytes(8, "little"))
    forged = large[:at] + (2**36).to_bytes(8, "little") + large[at + 8 :]
    with pytest.raises(RuntimeError):
        read_bytes(forged)


def test_the_limit_is_put_back_where_a_file_cannot_be_read(tmp_path: Path) -> None:
    before = faiss.get_deserialization_vector_byte_limit()
    (tmp_path / "bad").write_bytes(b"no index")
    with pytest.raises(RuntimeError):
        read_mapped(tmp_path / "bad")
    assert faiss.get_deserialization_vector_byte_limit() == before
