"""Scanning: which products there are, and which pictures moved since the last run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from data.catalogue import Catalogue
from data.embeddings import HASH
from data.errors import ImageRejectedError
from data.images import image_version
from data.rejects import Reject

STAT_THREADS = 32  # a look at an object in S3 is one round trip, and most of it is waiting


def with_versions(catalogue: Catalogue) -> Catalogue:
    """Return the catalogue with each picture's version, without reading pictures; those that are away are rejects."""
    if not catalogue.products["image_version"].null_count:
        return catalogue
    references = catalogue.products["image"].to_pylist()
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        found = list(pool.map(_version, references))
    versions = [None if isinstance(version, ImageRejectedError) else version for version in found]
    rejects = [
        Reject(product, reference, "scan", problem.reason, str(problem))
        for product, reference, problem in zip(catalogue.products["id"].to_pylist(), references, found, strict=True)
        if isinstance(problem, ImageRejectedError)
    ]
    place = catalogue.products.schema.get_field_index("image_version")
    products = catalogue.products.set_column(place, "image_version", pa.array(versions, pa.string()))
    present = products.filter(products["image_version"].is_valid())
    return Catalogue(catalogue.uri, present, [*catalogue.rejects, *rejects])


def with_known_hashes(products: pa.Table, previous: pa.Table | None) -> pa.Table:
    """Return the products with a column `image_hash`: known for pictures that did not move, null for the others."""
    known = {} if previous is None else _hashes_by_version(previous)
    keys = zip(products["image"].to_pylist(), products["image_version"].to_pylist(), strict=True)
    return with_hashes(products, [known.get(key) for key in keys])


def with_hashes(products: pa.Table, hashes: Sequence[bytes | None]) -> pa.Table:
    """Return the products with the column `image_hash` set."""
    column = pa.array(hashes, HASH)
    place = products.schema.get_field_index("image_hash")
    if place < 0:
        return products.append_column("image_hash", column)
    return products.set_column(place, "image_hash", column)


def _hashes_by_version(previous: pa.Table) -> dict[tuple[str, str], bytes]:
    columns = (previous[name].to_pylist() for name in ("image", "image_version", "image_hash"))
    return {(reference, version): image_hash for reference, version, image_hash in zip(*columns, strict=True)}


def _version(reference: str) -> str | ImageRejectedError:
    try:
        return image_version(reference)
    except ImageRejectedError as error:
        return error
