"""Embed: vectors for what has none, on Dask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from prefect.logging import get_run_logger

from data.embeddings import HASH
from data.errors import CatalogueError
from data.manifest import EncoderSection
from data.rejects import Reject
from flows.partitions import KILLED, cut, map_partitions
from flows.progress import stage_progress
from flows.run import Run
from flows.stage import stage
from tasks import embedding, partitions
from tasks.encoders.stored import stored_encoder
from tasks.partitions import Embedded


@stage("encoder")
def prepare_encoder(run: Run) -> EncoderSection:
    """Bring the encoder into the store, exported once."""
    encoder = stored_encoder(run.store, run.request.encoder)
    get_run_logger().info("encoder: %s, fingerprint %s", encoder.name, encoder.fingerprint)
    return encoder


@stage("embed")
def embed(run: Run, products: pa.Table, missing: pa.Table, encoder: EncoderSection) -> pa.Table:
    """Embed what is missing, on Dask; return the products that have a vector."""
    images = list(zip(missing["image_hash"].to_pylist(), missing["image"].to_pylist(), strict=True))
    rejected = _embed_on_dask(run, images, encoder) if images else {}
    run.rejects.extend(_product_rejects(products, rejected))
    bad = pa.array([bytes.fromhex(key) for key in rejected], HASH)
    usable = products.filter(pc.invert(pc.is_in(products["image_hash"], value_set=bad)))
    if not usable.num_rows:
        first = next(iter(rejected.values()))
        raise CatalogueError(f"no picture of {run.request.catalogue} could be used; the first one: {first.message}")
    return usable


def _embed_on_dask(
    run: Run, images: Sequence[tuple[bytes, str]], encoder: EncoderSection
) -> dict[str, embedding.Reject]:
    rejected: dict[str, embedding.Reject] = {}
    work = partial(_embed_partition, store=run.request.store, encoder=encoder, threads=run.threads)
    with stage_progress("embed", len(images)) as progress:
        for count, done in map_partitions(
            run.client, work, cut(images, run.request.partition), on_poison=_killed_worker
        ):
            rejected.update({reject.key: reject for reject in done.rejects})
            progress.advance(count)
    return rejected


def _embed_partition(
    images: Sequence[tuple[bytes, str]], *, store: str, encoder: EncoderSection, threads: int
) -> Embedded:
    return partitions.embed_images(store, encoder, images, threads=threads)


def _killed_worker(image: tuple[bytes, str]) -> Embedded:
    image_hash, reference = image
    reject = embedding.Reject(image_hash.hex(), reference, "encode", "killed_worker", KILLED)
    return Embedded(0, (reject,))


def _product_rejects(products: pa.Table, rejected: dict[str, embedding.Reject]) -> list[Reject]:
    """Return a reject for each product that shows a picture without a vector."""
    if not rejected:
        return []
    columns = (products[name].to_pylist() for name in ("id", "image", "image_hash"))
    return [
        Reject(product, reference, found.stage, found.reason, found.message)
        for product, reference, image_hash in zip(*columns, strict=True)
        if (found := rejected.get(image_hash.hex()))
    ]
