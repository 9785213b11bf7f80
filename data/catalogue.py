"""Catalogues: products from a folder of images, CSV, JSONL or Parquet, local or in S3, as one normal form."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from data.errors import CatalogueError
from data.images import file_version, s3_version
from data.rejects import Reject

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
OWN_COLUMNS = ("id", "title", "image")
VERSION = "image_version"


@dataclass(frozen=True)
class Catalogue:
    """A catalogue in its normal form.

    Attributes:
        uri: where it was read.
        products: columns `id`, `title`, `image` (an absolute reference), `image_version` (null where only a
            look at the image can tell) and `attributes`, a struct with one field for each attribute.
        rejects: rows that are no product: without id, without image, or with an id that was there already.
    """

    uri: str
    products: pa.Table
    rejects: list[Reject]


def read_catalogue(uri: str) -> Catalogue:
    """Read a catalogue. Raises `CatalogueError` with what to do about it."""
    location = locate(uri)
    reader = _reader(location)
    try:
        table = reader(location)
    except FileNotFoundError as error:
        raise CatalogueError(f"there is no catalogue at {uri}: check the path") from error
    except PermissionError as error:
        raise CatalogueError(f"the catalogue {uri} may not be read: {error}") from error
    except pa.ArrowInvalid as error:
        raise CatalogueError(f"the catalogue {uri} cannot be understood: {error}") from error
    products, rejects = _unique(table)
    if not products.num_rows:
        raise CatalogueError(f"the catalogue {uri} has no usable product: each row lacks an id or an image")
    return Catalogue(location, products, rejects)


def locate(uri: str) -> str:
    """Return where a catalogue is, absolutely. Raises `CatalogueError` at once for a path that does not exist."""
    location = _absolute(uri)
    if not _is_s3(location) and not Path(location).exists():
        raise CatalogueError(f"there is no catalogue at {uri}: check the path")
    return location


def _reader(location: str) -> Callable[[str], pa.Table]:
    suffix = PurePosixPath(urlsplit(location).path).suffix.lower()
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".parquet": _read_parquet}
    if suffix in readers:
        return readers[suffix]
    if not _is_s3(location) and Path(location).is_file():
        raise CatalogueError(f"{location}: a catalogue is a folder, or a file in .csv, .jsonl or .parquet")
    return _read_folder


def _read_folder(location: str) -> pa.Table:
    found = list(_list_s3(location) if _is_s3(location) else _list_local(Path(location)))
    if not found:
        raise CatalogueError(f"no images below {location}: Lookalike looks for {', '.join(sorted(IMAGE_SUFFIXES))}")
    paths = [PurePosixPath(name) for name, _, _ in found]
    return pa.table(
        {
            "id": [str(path) for path in paths],
            "title": [path.stem.replace("_", " ").replace("-", " ").strip() for path in paths],
            "image": [reference for _, reference, _ in found],
            VERSION: [version for _, _, version in found],
            "attributes": pa.StructArray.from_arrays(
                [pa.array([path.parts[0] if len(path.parts) > 1 else None for path in paths], pa.string())],
                names=["category"],
            ),
        }
    )


def _list_local(folder: Path) -> Iterator[tuple[str, str, str]]:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if _is_image(name) and path.is_file():
            yield name.as_posix(), str(path), file_version(path)


def _list_s3(location: str) -> Iterator[tuple[str, str, str]]:
    files = fsspec.filesystem("s3", use_listings_cache=False)
    root = location.removeprefix("s3://").strip("/")
    for key, entry in sorted(files.find(root, detail=True).items()):
        name = key.removeprefix(f"{root}/")
        if _is_image(PurePosixPath(name)):
            yield name, f"s3://{key}", s3_version(entry)


def _is_image(name: PurePosixPath | Path) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)  # .DS_Store, ._photo.jpg, .thumbnails/
    return name.suffix.lower() in IMAGE_SUFFIXES and not hidden


def _read_csv(location: str) -> pa.Table:
    text = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in OWN_COLUMNS}, strings_can_be_null=True, null_values=[""]
    )
    return _normal(pa.csv.read_csv(pa.BufferReader(_bytes(location)), convert_options=text), location)


def _read_parquet(location: str) -> pa.Table:
    return _normal(pq.read_table(pa.BufferReader(_bytes(location))), location)


def _read_jsonl(location: str) -> pa.Table:
    rows = []
    for number, line in enumerate(io.BytesIO(_bytes(location)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CatalogueError(f"{location}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CatalogueError(f"{location}, line {number}: each line must be a JSON object, like {{…}}")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return _normal(pa.table({name: _json_column(name, rows) for name in names}), location)


def _json_column(name: str, rows: list[dict[str, Any]]) -> pa.Array:
    values = [row.get(name) for row in rows]
    if name in OWN_COLUMNS:  # ids are often written as numbers; what was written is what is kept
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column of mixed types is compared as text
        return pa.array([value if value is None else str(value) for value in values])


def _normal(table: pa.Table, location: str) -> pa.Table:
    if not table.num_rows:
        raise CatalogueError(f"the catalogue {location} has no rows")
    missing = [name for name in ("id", "image") if name not in table.column_names]
    if missing:
        raise CatalogueError(
            f"the catalogue {location} lacks the column {' and '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, table.column_names))}. Rename its columns: 'id' (unique), 'image' (a path or "
            "s3://… reference), 'title' (by choice); all others become attributes to filter by"
        )
    base = location.rsplit("/", 1)[0]
    references = [None if not value else _resolve(value, base) for value in _text(table["image"]).to_pylist()]
    titles = _text(table["title"]) if "title" in table.column_names else pa.nulls(table.num_rows, pa.string())
    return pa.table(
        {
            "id": _text(table["id"]),
            "title": pc.fill_null(titles, ""),
            "image": pa.array(references, pa.string()),
            VERSION: pa.nulls(table.num_rows, pa.string()),
            "attributes": _attributes(table),
        }
    )


def _attributes(table: pa.Table) -> pa.StructArray:
    names = [name for name in table.column_names if name not in OWN_COLUMNS]
    columns = [_attribute(name, table[name].combine_chunks()) for name in names]
    if not names:
        return pa.array([{}] * table.num_rows, pa.struct([]))
    return pa.StructArray.from_arrays(columns, names=names)


def _attribute(name: str, column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):  # what combine_chunks leaves of a column without rows
        column = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_struct(column.type) or pa.types.is_map(column.type) or pa.types.is_binary(column.type):
        raise CatalogueError(
            f"the attribute {name!r} is of type {column.type}: give text, numbers, booleans, dates or lists of text"
        )
    return column


def _unique(table: pa.Table) -> tuple[pa.Table, list[Reject]]:
    seen: set[str] = set()
    keep, rejects = [], []
    for product, reference in zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True):
        problem = _row_problem(product, reference, seen)
        keep.append(problem is None)
        if problem:
            rejects.append(Reject(product or "", reference or "", "scan", *problem))
        else:
            seen.add(product)
    return table.filter(pa.array(keep)), rejects


def _row_problem(product: str | None, reference: str | None, seen: set[str]) -> tuple[str, str] | None:
    if not product:
        return "missing_id", "the row has no id"
    if not reference:
        return "missing_image", f"product {product!r} names no image"
    if product in seen:
        return "duplicate_id", f"an earlier row has the id {product!r} already; the first one is used"
    return None


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _absolute(uri: str) -> str:
    if _is_s3(uri):
        return uri.rstrip("/")
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise CatalogueError(f"{uri}: a catalogue is read from a path, file:// or s3://")
    return str(Path(rest if separator else uri).expanduser().resolve())


def _resolve(reference: str, base: str) -> str:
    if "://" in reference or reference.startswith("/"):
        return reference
    return f"{base}/{reference}"


def _bytes(location: str) -> bytes:
    if _is_s3(location):
        data: bytes = fsspec.filesystem("s3", use_listings_cache=False).cat_file(location)
        return data
    return Path(location).read_bytes()


def _is_s3(location: str) -> bool:
    return location.startswith("s3://")
