"""Catalogues: products from a folder of images, CSV, JSONL or Parquet, as one normal form, a batch at a time."""

from __future__ import annotations

import itertools
import os
import posixpath
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.rejects import Reject
from lookalike.data.catalogue.tables import BATCH_ROWS, OWN_COLUMNS, check_names, table_reader
from lookalike.data.catalogue.types import attributes
from lookalike.data.errors import CatalogueError, FetchError, NotFoundError, StoreRefusedError
from lookalike.data.fetch.client import FetchPolicy, fetch
from lookalike.data.fetch.images import s3_version, stat_version

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
VERSION = "image_version"
MAX_FETCHED_BYTES = 2**30  # of a catalogue over HTTP, which is held in memory once
CATALOGUE_SECONDS = 600.0  # it may take longer than a picture
NO_FETCHING = FetchPolicy()


@dataclass(frozen=True)
class Batch:
    """Some products of a catalogue in its normal form.

    Attributes:
        products: columns `id`, `title`, `image` (an absolute reference), `image_version` (null where only a
            look at the image can tell) and, where there are any, `attributes`, a struct with one field for each.
            An id may be there twice.
        rejects: rows that are no product: without id or without image.
    """

    products: pa.Table
    rejects: list[Reject]


def read_catalogue(uri: str, policy: FetchPolicy = NO_FETCHING) -> Iterator[Batch]:
    """Yield a catalogue, a few thousand products at a time.

    Args:
        uri: a folder of images, local or s3://; or a .csv, .jsonl or .parquet, local, s3:// or https://.
        policy: what may be fetched over HTTP.

    Raises `CatalogueError` with what to do about it, `StoreUnavailableError`.
    """
    location = locate(uri)
    usable = 0
    with _explain_errors(uri):
        for batch in _batches(location, policy):
            usable += batch.products.num_rows
            yield batch
    if not usable:
        raise CatalogueError(f"the catalogue {uri} has no usable product: each row lacks an id or an image")


def locate(uri: str) -> str:
    """Return where a catalogue is, absolutely. Raises `CatalogueError` at once for a path that does not exist."""
    location = _absolute(uri)
    if not _is_remote(location) and not Path(location).exists():
        raise CatalogueError(f"there is no catalogue at {uri}: check the path")
    return location


@contextmanager
def _explain_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise CatalogueError(f"there is no catalogue at {uri}: check the path") from error
    except (PermissionError, StoreRefusedError) as error:
        raise CatalogueError(f"the catalogue {uri} may not be read: {error}") from error
    except FetchError as error:
        raise CatalogueError(f"the catalogue {uri} cannot be fetched: {error}") from error
    except pa.ArrowException as error:
        hint = "; save it as UTF-8" if "UTF8" in str(error) else ""
        raise CatalogueError(f"the catalogue {uri} cannot be understood: {error}{hint}") from error
    except OSError as error:
        raise CatalogueError(f"the catalogue {uri} cannot be read: {error}") from error


def _batches(location: str, policy: FetchPolicy) -> Iterator[Batch]:
    read = table_reader(PurePosixPath(location).name)
    if read is None:
        if _is_http(location) or (not _is_s3(location) and Path(location).is_file()):
            raise CatalogueError(f"{location}: a catalogue is a folder, or a file in .csv, .jsonl or .parquet")
        yield from _folder_batches(location)
        return
    base = location.rsplit("/", 1)[0]
    rows = 0
    with _local_copy(location, policy) as file:
        for table in read(file, location):
            rows += table.num_rows
            yield _check_rows(_normal(table, location, base))
    if not rows:
        raise CatalogueError(f"the catalogue {location} has no rows")


@contextmanager
def _local_copy(location: str, policy: FetchPolicy) -> Iterator[Path]:
    """Yield a local file: tables are read twice, and in no order that suits a network."""
    if not _is_remote(location):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="lookalike-catalogue-") as folder:
        file = Path(folder) / "catalogue"
        if _is_http(location):
            patient = replace(policy, total_seconds=max(policy.total_seconds, CATALOGUE_SECONDS))
            file.write_bytes(fetch(location, patient, max_bytes=MAX_FETCHED_BYTES))
        else:
            _download_s3(location, file)
        yield file


def _download_s3(location: str, file: Path) -> None:
    from lookalike.data.stores.s3 import file_system, translate_errors  # noqa: PLC0415 - a local catalogue need not import boto

    with translate_errors(location):
        file_system().get_file(location, str(file))


def _folder_batches(location: str) -> Iterator[Batch]:
    listed = iter(_list_s3(location) if _is_s3(location) else _list_local(Path(location)))
    empty = True
    while found := list(itertools.islice(listed, BATCH_ROWS)):
        empty = False
        yield _folder_batch(found)
    if empty:
        raise CatalogueError(f"no images below {location}: Lookalike looks for {', '.join(sorted(IMAGE_SUFFIXES))}")


def _folder_batch(listed: Iterable[tuple[str, str, str]]) -> Batch:
    found = [image for image in listed if _is_text(image[0])]
    rejects = [_unreadable_name(*image[:2]) for image in listed if not _is_text(image[0])]
    names = [name for name, _, _ in found]
    category = pa.array([name.partition("/")[0] if "/" in name else None for name in names], pa.string())
    columns: dict[str, list[str]] = {
        "id": names,
        "title": [_title(name) for name in names],
        "image": [reference for _, reference, _ in found],
        VERSION: [version for _, _, version in found],
    }
    products = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    return Batch(products.append_column("attributes", pa.StructArray.from_arrays([category], ["category"])), rejects)


def _title(name: str) -> str:
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return stem.replace("_", " ").replace("-", " ").strip()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # a file name may be any bytes
        return False
    return True


def _unreadable_name(name: str, reference: str) -> Reject:
    shown, where = (text.encode("utf-8", "backslashreplace").decode() for text in (name, reference))
    return Reject(shown, where, "scan", "unreadable_name", "the file's name is not UTF-8: rename the file")


def _list_local(folder: Path) -> Iterator[tuple[str, str, str]]:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    return _walk(str(folder), "")


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    # names are text, not paths: a million of them is listed in seconds
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")
        elif _is_image(entry.name) and entry.is_file():
            with suppress(FileNotFoundError):  # removed while we listed
                yield prefix + entry.name, entry.path, stat_version(entry.stat())


def _list_s3(location: str) -> Iterator[tuple[str, str, str]]:
    from lookalike.data.stores.s3 import list_objects  # noqa: PLC0415 - a local catalogue need not import boto

    for name, entry in list_objects(location):
        hidden = any(part.startswith(".") for part in name.split("/"))
        if _is_image(name) and not hidden:
            yield name, f"{location}/{name}", s3_version(entry)


def _is_image(name: str) -> bool:
    """Hidden files are left out by those who list: .DS_Store, ._photo.jpg, .thumbnails/ are nobody's products."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a path for each name takes seconds


def _normal(table: pa.Table, location: str, base: str) -> pa.Table:
    names = [name.strip() for name in table.column_names]
    check_names(names, location)
    table = table.rename_columns(names)
    references = [None if not value else _resolve(value, base) for value in _text(table, "image", location).to_pylist()]
    titles = _text(table, "title", location) if "title" in table.column_names else pa.nulls(table.num_rows, pa.string())
    products = pa.table(
        {
            "id": _text(table, "id", location),
            "title": pc.fill_null(titles, ""),
            "image": pa.array(references, pa.string()),
            VERSION: pa.nulls(table.num_rows, pa.string()),
        }
    )
    others = [name for name in names if name and name not in OWN_COLUMNS]
    # Parquet has no struct without fields, so a catalogue without attributes has no such column
    return products.append_column("attributes", attributes(table, others)) if others else products


def _check_rows(table: pa.Table) -> Batch:
    keep, rejects = [], []
    for product, reference in zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True):
        problem = _row_problem(product, reference)
        keep.append(problem is None)
        if problem:
            rejects.append(Reject(product or "", reference or "", "scan", *problem))
    return Batch(table.filter(pa.array(keep, pa.bool_())) if rejects else table, rejects)


def _row_problem(product: str | None, reference: str | None) -> tuple[str, str] | None:
    if not product:
        return "missing_id", "the row has no id"
    if not reference:
        return "missing_image", f"product {product!r} names no image"
    return None


def _text(table: pa.Table, name: str, location: str) -> pa.ChunkedArray:
    column = table[name]
    try:
        return column if pa.types.is_string(column.type) else column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        wanted = "a path or an address: write the pictures into files, and where they are into this column"
        raise CatalogueError(
            f"the catalogue {location} cannot be understood: its column {name!r} is of type {column.type} and must be "
            f"{wanted if name == 'image' else 'text or numbers'}"
        ) from error


def _absolute(uri: str) -> str:
    if not uri.strip():
        raise CatalogueError("name a catalogue: a folder of images, or a file in .csv, .jsonl or .parquet")
    if _is_remote(uri):
        return uri.rstrip("/")
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise CatalogueError(f"{uri}: a catalogue is read from a path, file://, s3:// or https://")
    return str(Path(rest if separator else uri).expanduser().resolve())


def _resolve(reference: str, base: str) -> str:
    if "://" in reference or reference.startswith("/"):
        return reference
    if _is_remote(base):  # neither a bucket nor every web server knows `..`
        scheme, _, rest = base.partition("://")
        return f"{scheme}:/" + posixpath.normpath(f"/{rest}/{reference}")
    return f"{base}/{reference}"


def _is_remote(location: str) -> bool:
    return _is_s3(location) or _is_http(location)


def _is_s3(location: str) -> bool:
    return location.startswith("s3://")


def _is_http(location: str) -> bool:
    return location.startswith(("http://", "https://"))
