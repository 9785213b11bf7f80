"""What a worker does with a partition of pictures, on a real store and a web server that takes its time."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from threading import Barrier

import numpy as np
import pyarrow as pa
from PIL import Image

from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.stores import open_store
from lookalike.tasks.embed.partition import embed_pictures
from lookalike.tasks.encoders.stored import store_encoder
from tests.support.sites import LOCAL, Page, Site, Visitor, answer, running

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
