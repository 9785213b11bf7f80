"""Scan and diff: what there is, and what has no vector yet."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from prefect.logging import get_run_logger

from data.catalogue import read_catalogue
from data.catalogues import catalogue_id, write_catalogue
from data.embeddings import Embeddings
from data.errors import ImageRejectedError
from data.manifest import EncoderSection
from data.rejects import Reject
from flows.partitions import KILLED, cut, map_partitions
from flows.progress import stage_progress
from flows.run import Run
from flows.stage import stage
from tasks import partitions, scanning

HASHES_PER_PARTITION = 1024

Hashes = dict[str, bytes | ImageRejectedError]


@stage("scan")
def scan(run: Run) -> pa.Table:
    """Read the catalogue; hash the pictures that moved. Returns the products, each with its `image_hash`."""
    catalogue = scanning.with_versions(read_catalogue(run.request.catalogue))
    products = scanning.with_known_hashes(catalogue.products, None if run.request.full else run.previous)
    references = products["image"].filter(products["image_hash"].is_null()).unique().to_pylist()
    hashes = _hash_on_dask(run, references)
    found, rejects = _with_hashes(products, hashes)
    run.rejects.extend([*catalogue.rejects, *rejects])
    get_run_logger().info(
        "scan: %s products, %s pictures new or moved, %s rejected",
        f"{found.num_rows:,}",
        f"{len(references):,}",
        f"{len(catalogue.rejects) + len(rejects):,}",
    )
    return found


@stage("diff")
def diff(run: Run, products: pa.Table, encoder: EncoderSection) -> pa.Table:
    """Return the pictures, each once, that have no vector under this encoder: `image_hash` and `image`."""
    wanted = products.select(["image_hash", "image"]).group_by("image_hash").aggregate([("image", "min")])
    known = Embeddings(run.store, encoder.fingerprint).hashes()
    new = pa.array([image_hash not in known for image_hash in wanted["image_hash"].to_pylist()], pa.bool_())
    missing = wanted.filter(new).rename_columns(["image_hash", "image"]).sort_by("image_hash")
    get_run_logger().info(
        "diff: %s pictures to embed, %s have their vector",
        f"{missing.num_rows:,}",
        f"{wanted.num_rows - missing.num_rows:,}",
    )
    return missing


@stage("record")
def record(run: Run, products: pa.Table) -> str:
    """Write the normalised catalogue; return its id."""
    return write_catalogue(run.store, products)


def unchanged(run: Run, products: pa.Table, encoder: EncoderSection) -> bool:
    """Tell whether a new snapshot would answer exactly as the one that is published."""
    request, parent = run.request, run.parent
    if parent is None or request.full:
        return False
    return (
        parent.catalogue.id == catalogue_id(products)
        and parent.catalogue.attribution == request.attribution
        and parent.encoder == encoder
        and request.shards in {None, len(parent.shards)}
    )


def _hash_on_dask(run: Run, references: Sequence[str]) -> Hashes:
    if not references:
        return {}
    hashes: Hashes = {}
    with stage_progress("scan", len(references)) as progress:
        for count, found in map_partitions(
            run.client,
            _hash_pairs,
            cut(references, HASHES_PER_PARTITION),
            on_poison=_killed_worker,
        ):
            hashes.update(found)
            progress.advance(count)
    return hashes


def _hash_pairs(references: Sequence[str]) -> Hashes:
    return dict(zip(references, partitions.hash_images(references), strict=True))


def _killed_worker(reference: str) -> Hashes:
    return {reference: ImageRejectedError("killed_worker", KILLED)}


def _with_hashes(products: pa.Table, hashes: dict[str, bytes | ImageRejectedError]) -> tuple[pa.Table, list[Reject]]:
    known, rejects = [], []
    columns = (products[name].to_pylist() for name in ("id", "image", "image_hash"))
    for product, reference, image_hash in zip(*columns, strict=True):
        found = image_hash or hashes[reference]
        if isinstance(found, ImageRejectedError):
            rejects.append(Reject(product, reference, "read", found.reason, str(found)))
            found = None
        known.append(found)
    hashed = scanning.with_hashes(products, known)
    return hashed.filter(hashed["image_hash"].is_valid()), rejects
