"""Catalogues: products from a folder of images, CSV, JSONL or Parquet, local or in S3, as one normal form."""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from data.attributes import attributes, typed
from data.errors import CatalogueError, NotFoundError, StoreRefusedError
from data.images import file_version, s3_version
from data.rejects import Reject

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
OWN_COLUMNS = ("id", "title", "image")
VERSION = "image_version"

_Rows: TypeAlias = tuple[pa.Table, list[Reject]]


@dataclass(frozen=True)
class Catalogue:
    """A catalogue in its normal form.

    Attributes:
        uri: where it was read.
        products: columns `id`, `title`, `image` (an absolute reference), `image_version` (null where only a
            look at the image can tell) and, where there are any, `attributes`, a struct with one field for each.
        rejects: rows that are no product: without id, without image, or with an id that was there already.
    """

    uri: str
    products: pa.Table
    rejects: list[Reject]


def read_catalogue(uri: str) -> Catalogue:
    """Read a catalogue. Raises `CatalogueError` with what to do about it, `StoreUnavailableError`."""
    location = locate(uri)
    reader = _reader(location)
    try:
        table, unreadable = reader(location)
    except (FileNotFoundError, NotFoundError) as error:
        raise CatalogueError(f"there is no catalogue at {uri}: check the path") from error
    except (PermissionError, StoreRefusedError) as error:
        raise CatalogueError(f"the catalogue {uri} may not be read: {error}") from error
    except pa.ArrowException as error:
        hint = "; save it as UTF-8" if "UTF8" in str(error) else ""
        raise CatalogueError(f"the catalogue {uri} cannot be understood: {error}{hint}") from error
    except OSError as error:
        raise CatalogueError(f"the catalogue {uri} cannot be read: {error}") from error
    products, rejects = _unique(table)
    if not products.num_rows:
        raise CatalogueError(f"the catalogue {uri} has no usable product: each row lacks an id or an image")
    return Catalogue(location, products, [*unreadable, *rejects])


def locate(uri: str) -> str:
    """Return where a catalogue is, absolutely. Raises `CatalogueError` at once for a path that does not exist."""
    location = _absolute(uri)
    if not _is_s3(location) and not Path(location).exists():
        raise CatalogueError(f"there is no catalogue at {uri}: check the path")
    return location


def _reader(location: str) -> Callable[[str], _Rows]:
    suffix = PurePosixPath(location).suffix.lower()
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".parquet": _read_parquet}
    if suffix in readers:
        return readers[suffix]
    if not _is_s3(location) and Path(location).is_file():
        raise CatalogueError(f"{location}: a catalogue is a folder, or a file in .csv, .jsonl or .parquet")
    return _read_folder


def _read_folder(location: str) -> _Rows:
    listed = list(_list_s3(location) if _is_s3(location) else _list_local(Path(location)))
    found = [image for image in listed if _is_text(image[0])]
    rejects = [_unreadable_name(*image[:2]) for image in listed if not _is_text(image[0])]
    if not found:
        raise CatalogueError(f"no images below {location}: Lookalike looks for {', '.join(sorted(IMAGE_SUFFIXES))}")
    paths = [PurePosixPath(name) for name, _, _ in found]
    table = pa.table(
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
    return table, rejects


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
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if _is_image(name) and path.is_file():
            with suppress(FileNotFoundError):  # removed while we listed
                yield name.as_posix(), str(path), file_version(path)


def _list_s3(location: str) -> Iterator[tuple[str, str, str]]:
    from data.stores.s3 import file_system, translated  # noqa: PLC0415 - a local catalogue need not import boto

    root = location.removeprefix("s3://").strip("/")
    with translated(location):
        found = file_system().find(root, detail=True)
    for key, entry in sorted(found.items()):
        name = key.removeprefix(f"{root}/")
        if entry["type"] == "file" and _is_image(PurePosixPath(name)):
            yield name, f"s3://{key}", s3_version(entry)


def _is_image(name: PurePosixPath | Path) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)  # .DS_Store, ._photo.jpg, .thumbnails/
    return name.suffix.lower() in IMAGE_SUFFIXES and not hidden


def _read_csv(location: str) -> _Rows:
    data = _bytes(location)
    if not data.strip():
        raise CatalogueError(f"the catalogue {location} is empty")
    table = pa.csv.read_csv(
        pa.BufferReader(data),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            # types are found by looking at whole columns: a guess from the first rows fails on the later ones
            column_types=dict.fromkeys(_csv_header(data), pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    for place, name in enumerate(table.column_names):
        if name.strip() not in OWN_COLUMNS:
            table = table.set_column(place, name, typed(table.column(place)))
    return _normal(table, location), []


def _csv_header(data: bytes) -> list[str]:
    with pa.csv.open_csv(pa.BufferReader(data), parse_options=pa.csv.ParseOptions(newlines_in_values=True)) as reader:
        return list(reader.schema.names)


def _read_parquet(location: str) -> _Rows:
    return _normal(pq.read_table(pa.BufferReader(_bytes(location))), location), []


def _read_jsonl(location: str) -> _Rows:
    rows = []
    for number, line in enumerate(io.BytesIO(_bytes(location)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CatalogueError(f"{location}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CatalogueError(f"{location}, line {number}: each line must be a JSON object, like {{…}}")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return _normal(pa.table({name: _json_column(name, rows) for name in names}), location), []


def _json_column(name: str, rows: list[dict[str, Any]]) -> pa.Array:
    values = [row.get(name) for row in rows]
    if name in OWN_COLUMNS:  # ids are often written as numbers; what was written is what is kept
        values = _as_text(values)
    try:
        return pa.array(values)
    except UnicodeEncodeError as error:
        raise CatalogueError(f"the column {name!r} holds half a character: {error}") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a column of mixed types is compared as text
        return pa.array(_as_text(values), pa.string())


def _as_text(values: list[Any]) -> list[str | None]:
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]


def _normal(table: pa.Table, location: str) -> pa.Table:
    if not table.num_rows:
        raise CatalogueError(f"the catalogue {location} has no rows")
    names = [name.strip() for name in table.column_names]
    _check_names(names, location)
    table = table.rename_columns(names)
    base = location.rsplit("/", 1)[0]
    references = [None if not value else _resolve(value, base) for value in _text(table["image"]).to_pylist()]
    titles = _text(table["title"]) if "title" in table.column_names else pa.nulls(table.num_rows, pa.string())
    products = pa.table(
        {
            "id": _text(table["id"]),
            "title": pc.fill_null(titles, ""),
            "image": pa.array(references, pa.string()),
            VERSION: pa.nulls(table.num_rows, pa.string()),
        }
    )
    others = [name for name in names if name and name not in OWN_COLUMNS]
    # Parquet has no struct without fields, so a catalogue without attributes has no such column
    return products.append_column("attributes", attributes(table, others)) if others else products


def _check_names(names: list[str], location: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise CatalogueError(f"the catalogue {location} has the column {' and '.join(map(repr, twice))} twice")
    missing = [name for name in ("id", "image") if name not in names]
    if missing:
        raise CatalogueError(
            f"the catalogue {location} lacks the column {' and '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, names))}. Rename its columns: 'id' (unique), 'image' (a path or "
            "s3://… reference), 'title' (by choice); all others become attributes to filter by"
        )


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
    if not uri.strip():
        raise CatalogueError("name a catalogue: a folder of images, or a file in .csv, .jsonl or .parquet")
    if _is_s3(uri):
        return uri.rstrip("/")
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise CatalogueError(f"{uri}: a catalogue is read from a path, file:// or s3://")
    return str(Path(rest if separator else uri).expanduser().resolve())


def _resolve(reference: str, base: str) -> str:
    if "://" in reference or reference.startswith("/"):
        return reference
    if _is_s3(base):  # a bucket knows no `..`
        return "s3:/" + posixpath.normpath(f"{base.removeprefix('s3:/')}/{reference}")
    return f"{base}/{reference}"


def _bytes(location: str) -> bytes:
    if not _is_s3(location):
        return Path(location).read_bytes()
    from data.stores.s3 import file_system, translated  # noqa: PLC0415 - a local catalogue need not import boto

    with translated(location):
        data: bytes = file_system().cat_file(location)
    return data


def _is_s3(location: str) -> bool:
    return location.startswith("s3://")
