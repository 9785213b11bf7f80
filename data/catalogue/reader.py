"""Catalogues: products from a folder of pictures, CSV, JSONL or Parquet, as one normal form, a batch at a time."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.columns import OWN_COLUMNS, PICTURE_COLUMNS, Columns
from lookalike.data.catalogue.files.csv_files import read_csv
from lookalike.data.catalogue.files.json_files import read_json
from lookalike.data.catalogue.files.parquet_files import read_parquet
from lookalike.data.catalogue.files.source import (
    absolute_location,
    is_http,
    is_remote,
    is_s3,
    is_table,
    open_source,
    shown_location,
    temporary_folder,
)
from lookalike.data.catalogue.findings import Findings, shorten
from lookalike.data.catalogue.folders import FolderList, Listed
from lookalike.data.catalogue.pictures import FURTHER, UNUSABLE, read_references
from lookalike.data.catalogue.references import PICTURE_SUFFIXES
from lookalike.data.catalogue.rejects import Reject, describe_reasons
from lookalike.data.catalogue.tables import BATCH_ROWS, TableRequest, join_variants
from lookalike.data.catalogue.types import attributes, is_list, type_name
from lookalike.data.errors import CatalogueError, FetchError, NotFoundError, StoreRefusedError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.reports import AttributeFinding

VERSION = "image_version"
NO_FETCHING = FetchPolicy()
CHECKED_BYTES = 16 * 2**20

EMPTY = pa.table({name: pa.array([], pa.string()) for name in ("id", "title", "image", VERSION)})

_READERS = {"csv": read_csv, "json": read_json, "parquet": read_parquet}
_EXACT_FLOAT = 2.0**53
_SHORTENED = re.compile(r"^\d([.,]\d+)?[eE]\+\d+$")


@dataclass(frozen=True)
class Batch:
    """Some products of a catalogue in its normal form.

    Attributes:
        products: columns `id`, `title`, `image` (an absolute reference), `image_version` (null where only a
            look at the image can tell) and, where there are any, `attributes`, a struct with one field for each, and
            `further`, a list of references to further pictures. An id may be there twice.
        rejects: rows that are no product: without id or without image, or that cannot be understood.
        lost: pictures that cannot be used, of products that have others.
    """

    products: pa.Table
    rejects: list[Reject]
    lost: list[Reject] = field(default_factory=list)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a catalogue.

    Attributes:
        policy: what may be fetched over HTTP.
        columns: what people say of its columns.
        encoding: how its text was saved, if people have said it.
        store: where the run's own store is: its files are no products.
    """

    policy: FetchPolicy = NO_FETCHING
    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    store: str | None = None


def read_catalogue(
    uri: str, policy: FetchPolicy = NO_FETCHING, *, options: ReadOptions | None = None, findings: Findings | None = None
) -> Iterator[Batch]:
    """Yield a catalogue, a few thousand products at a time.

    Args:
        uri: a folder of pictures, or of the parts of a table, local or s3://; or a table, local, s3:// or https://.
        policy: what may be fetched over HTTP, where `options` do not say it.
        findings: takes what people should know of how it was read.

    Raises `CatalogueError` with what to do about it, `StoreUnavailableError`.
    """
    location = locate(uri)
    options, findings = options or ReadOptions(policy), findings or Findings()
    usable, counts, first = 0, Counter[str](), dict[str, Reject]()
    name = shown_location(uri)
    with _explain_errors(name):
        for batch in _batches(location, options, findings):
            usable += batch.products.num_rows
            for reject in batch.rejects:
                counts[reject.reason] += 1
                first.setdefault(reject.reason, reject)
            yield batch
    if not usable:
        raise CatalogueError(f"the catalogue {name} has no usable product: {describe_reasons(counts, first)}")


def locate(uri: str) -> str:
    """Return where a catalogue is, absolutely. Raises `CatalogueError` at once for a path that does not exist."""
    location = absolute_location(uri)
    if not is_remote(location) and not Path(location).exists():
        raise CatalogueError(f"there is no catalogue at {uri}: check the path")
    return location


def check_catalogue(location: str, options: ReadOptions) -> None:
    """Read the first products of a catalogue on this disk, if it is small. Raises as `read_catalogue` does."""
    path = Path(location)
    if is_remote(location) or (path.is_file() and path.stat().st_size > CHECKED_BYTES):
        return
    next(read_catalogue(location, options=options))


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
        raise CatalogueError(f"the catalogue {uri} cannot be understood: {error}") from error
    except OSError as error:
        raise CatalogueError(f"the catalogue {uri} cannot be read: {error}") from error


def _batches(location: str, options: ReadOptions, findings: Findings) -> Iterator[Batch]:
    if is_table(location):
        yield from _table_batches(location, options, findings)
    elif options.columns != Columns():
        raise CatalogueError(f"{location} is a folder of pictures, and has no columns: leave out --columns")
    else:
        yield from _folder_batches(location, options.store, findings)


def _table_batches(location: str, options: ReadOptions, findings: Findings) -> Iterator[Batch]:
    base, name = _base_of(location), shown_location(location)
    empty, waiting = EMPTY, list[Reject]()
    with temporary_folder() as folder, open_source(location, options.policy, Path(folder)) as source:
        request = TableRequest(name, options.columns, options.encoding, findings, Path(folder), source.charset)
        for part in join_variants(_READERS[source.kind](source.files, request), request):
            waiting += part.rejects
            if part.table is not None and part.table.num_rows:
                batch = _check_rows(*_normal(part.table, name, base, findings))
                yield replace(batch, rejects=[*waiting, *batch.rejects])
                empty, waiting = batch.products.slice(0, 0), []
    _say_types(empty, findings)
    if waiting:
        yield Batch(empty, waiting)
    elif empty is EMPTY:
        raise CatalogueError(f"the catalogue {name} has no rows")


def _say_types(products: pa.Table, findings: Findings) -> None:
    """Say of each attribute which type it has in the end: values of variants are lists."""
    for one in products.schema.field("attributes").type if "attributes" in products.column_names else ():
        findings.attributes[one.name] = findings.attributes[one.name].model_copy(update={"type": type_name(one.type)})


def _base_of(location: str) -> str:
    """Return the folder that references are relative to: of parts, the folder that they are in."""
    if is_http(location):
        location = re.split(r"[?#]", location, maxsplit=1)[0]
    elif not is_s3(location) and Path(location).is_dir():
        return location
    return location.rsplit("/", 1)[0]


def _folder_batches(location: str, store: str | None, findings: Findings) -> Iterator[Batch]:
    folder = FolderList(location, findings, store)
    listed = folder.s3() if is_s3(location) else folder.local()
    empty = True
    while found := list(itertools.islice(listed, BATCH_ROWS)):
        empty = False
        yield _folder_batch(found)
    if empty:
        raise CatalogueError(
            f"no images below {location}: Lookalike looks for pictures, such as {', '.join(sorted(PICTURE_SUFFIXES))}"
            + "".join(f"; {note}" for note in findings.notes[:3])
        )
    findings.attributes["category"] = AttributeFinding(type="string", how="the first folder")


def _folder_batch(listed: Iterable[Listed]) -> Batch:
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
    stem = name.rpartition("/")[2].rpartition(".")[0] or name.rpartition("/")[2]
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


def _normal(table: pa.Table, location: str, base: str, findings: Findings) -> tuple[pa.Table, list[Reject]]:
    """Return products, and the pictures that cannot be used of those that have others."""
    titles = _text(table, "title", location) if "title" in table.column_names else pa.nulls(table.num_rows, pa.string())
    pictures = read_references(_picture_columns(table, location), base, findings)
    products = pa.table(
        {
            "id": _ids(table, location),
            "title": _one_form(pc.fill_null(titles, "")),
            "image": pictures.first,
            VERSION: pa.nulls(table.num_rows, pa.string()),
        }
    )
    lost = [
        Reject(products["id"][row].as_py() or "", problem, "scan", "unsupported_reference", problem)
        for row, problem in pictures.problems
    ]
    if pictures.further is not None:
        products = products.append_column(FURTHER, pictures.further)
    others = [name for name in table.column_names if name and name not in OWN_COLUMNS]
    for place, name in enumerate(table.column_names):
        if name in others and pa.types.is_string(table[name].type):
            table = table.set_column(place, name, _one_form(table[name]))
    if not others:  # Parquet has no struct without fields, so a catalogue without attributes has no such column
        return products, lost
    found = attributes(table, others)
    for name in others:
        _describe(name, pc.struct_field(found, name), findings)
    return products.append_column("attributes", found), lost


def _describe(name: str, column: pa.Array, findings: Findings) -> None:
    """Say of an attribute which type it has, where no reader of text has more to say."""
    if name in findings.attributes and findings.attributes[name].example is not None:
        return
    values = column.slice(0, 100).drop_null()
    example = shorten(values[0].as_py()) if len(values) else None
    findings.attributes[name] = AttributeFinding(type=type_name(column.type), example=example)


def _ids(table: pa.Table, location: str) -> pa.ChunkedArray:
    """Return ids as text. pandas makes floats of numbers where one is missing: they are the numbers again."""
    column = table["id"]
    if not pa.types.is_floating(column.type):
        return _text(table, "id", location)
    return pa.chunked_array([pa.array([_float_id(value) for value in column.to_pylist()], pa.string())])


def _float_id(value: float | None) -> str | None:
    if value is None or not math.isfinite(value):
        return None
    if value.is_integer():
        return str(int(value)) if abs(value) <= _EXACT_FLOAT else f"{value:.15e}"  # it has lost digits, and is a reject
    return repr(value)


def _one_form(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text with its accents in one form, so that what people type is found."""
    return column if pc.all(pc.string_is_ascii(column)).as_py() is not False else pc.utf8_normalize(column, form="NFC")


def _picture_columns(table: pa.Table, location: str) -> list[pa.ChunkedArray]:
    """Return the columns that name pictures, that of the first ones first."""
    names = [name for name in PICTURE_COLUMNS if name in table.column_names]
    return [table[name] if is_list(table[name].type) else _text(table, name, location) for name in names]


def _check_rows(table: pa.Table, lost: list[Reject]) -> Batch:
    if not _has_problems(table["id"], table["image"]):
        return Batch(table, [], lost)
    keep, rejects = [], []
    for product, reference in zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True):
        problem = _row_problem(product, reference)
        keep.append(problem is None)
        if problem:
            rejects.append(Reject(product or "", (reference or "").removeprefix(UNUSABLE), "scan", *problem))
    return Batch(table.filter(pa.array(keep, pa.bool_())) if rejects else table, rejects, lost)


def _has_problems(ids: pa.ChunkedArray, images: pa.ChunkedArray) -> bool:
    """Tell whether any row may be no product."""
    if ids.null_count or images.null_count:
        return True
    odd = (pc.equal(ids, ""), pc.match_substring_regex(ids, _SHORTENED.pattern), pc.equal(images, ""))
    return any(pc.any(mask).as_py() for mask in (*odd, pc.starts_with(images, UNUSABLE)))


def _row_problem(product: str | None, reference: str | None) -> tuple[str, str] | None:
    if not product:
        return "missing_id", "the row has no id"
    if _SHORTENED.fullmatch(product):
        message = f"a spreadsheet or pandas has made the id {product}, without some digits: export it as text"
        return "shortened_id", message
    if not reference:
        return "missing_image", f"product {product!r} names no image"
    if reference.startswith(UNUSABLE):
        return "unsupported_reference", reference.removeprefix(UNUSABLE)
    return None


def _text(table: pa.Table, name: str, location: str) -> pa.ChunkedArray:
    column = table[name]
    try:
        return column if pa.types.is_string(column.type) else column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        wanted = "a path or an address: write the pictures into files, and where they are into this column"
        raise CatalogueError(
            f"the catalogue {location} cannot be understood: its column {name!r} is of type {column.type} and must be "
            f"{wanted if name in PICTURE_COLUMNS else 'text or numbers'}"
        ) from error
