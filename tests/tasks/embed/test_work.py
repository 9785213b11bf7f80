"""Partitions of pictures: of a fair size for each worker, smaller where they are large; what a worker does with one.

A worker uses a real store and a web server that takes its time.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from threading import Barrier

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.stores import open_store
from lookalike.tasks.embed.work import ASSUMED_BYTES, embed_pictures, partition_size, size_of_version
from lookalike.tasks.encoders.stored import store_encoder
from tests.support.sites import LOCAL, Page, Site, Visitor, answer, running


@pytest.mark.parametrize(
    ("pictures", "workers", "size"),
    [(1, 2, 32), (1_520, 2, 95), (100_000, 2, 1024), (100_000, 200, 63), (10_000_000, 8, 1024), (1000, 0, 125)],
)
def test_a_worker_takes_a_fair_part(pictures: int, workers: int, size: int) -> None:
    assert partition_size(pictures, workers, 1024) == size


def test_a_setting_bounds_it() -> None:
    assert partition_size(100_000, 2, 8) == 8


@pytest.mark.parametrize(
    ("version", "size"),
    [("1234-1795376125996662900", 1234), ("77-abcdef", 77), (None, ASSUMED_BYTES), ('"etag-1"', ASSUMED_BYTES)],
)
def test_a_version_says_the_size_of_files_and_objects(version: str | None, size: int) -> None:
    assert size_of_version(version) == size


COUNT = 16


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_worker_with_one_thread_to_compute_waits_for_many_pictures_at_once(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    encoder = store_encoder(open_store(store), "fake")
    together = Barrier(COUNT)

    def after_the_others(page: Page) -> Page:
        def late(visitor: Visitor) -> None:
            together.wait(10)
            page(visitor)

        return late

    bodies = [picture(seed) for seed in range(COUNT)]
    with running(Site()) as site:
        site.pages = {f"/{number}.png": [after_the_others(answer(body))] for number, body in enumerate(bodies)}
        pictures = pa.table(
            {
                "image_hash": pa.array([hashlib.sha256(body).digest() for body in bodies], HASH),
                "image": [f"http://{LOCAL}:{site.port}{path}" for path in site.pages],
            }
        )
        policy = FetchPolicy(
            allowed_hosts=(LOCAL,), allowed_networks=("127.0.0.0/8",), allowed_ports=(site.port,), retries=0
        )
        done = embed_pictures(pictures, store=store, encoder=encoder, policy=policy, threads=1, device="cpu")

    assert (done.vectors, done.rejects) == (COUNT, ())
    assert len(Embeddings(open_store(store), encoder.fingerprint).read()[0]) == COUNT
