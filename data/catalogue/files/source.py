"""Sources: where a catalogue is, brought to this machine as plain files; of which kind it is, its content says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from lookalike.data.catalogue.references import file_path
from lookalike.data.errors import CatalogueError
from lookalike.data.fetch.addresses import hide_secrets
from lookalike.data.fetch.client import FetchPolicy, fetch_typed

MAX_FETCHED_BYTES = 2**30  # of a catalogue over HTTP, which is held in memory once
MAX_UNPACKED_BYTES = 2**36  # of a compressed one, which is on disk once
CATALOGUE_SECONDS = 600.0  # it may take longer than a picture
FORMS: Final = "a folder of pictures, or CSV, JSONL or Parquet"

_KINDS: Final = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")
_CHUNK = 2**20


class Readable(Protocol):
    """What gives the bytes of a compressed file."""

    def read(self, size: int, /) -> bytes: ...


def _open_zstd(path: Path) -> io.BufferedReader:
    return io.BufferedReader(pa.CompressedInputStream(str(path), "zstd"))


_OPENERS: Final[tuple[tuple[bytes, Callable[[Path], io.BufferedIOBase]], ...]] = (
    (b"\x1f\x8b", gzip.GzipFile),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"\x28\xb5\x2f\xfd", _open_zstd),
)


@dataclass(frozen=True)
class Source:
    """A table on this machine.

    Attributes:
        kind: `csv`, `json` or `parquet`.
        files: its parts, in order.
        charset: how it was saved, as its server says; None where nobody says it.
    """

    kind: str
    files: Sequence[Path]
    charset: str | None = None


def is_remote(location: str) -> bool:
    """Tell whether a location is not on a disk of this machine."""
    return is_s3(location) or is_http(location)


def is_s3(location: str) -> bool:
    """Tell whether a location is in a bucket."""
    return location.startswith("s3://")


def is_http(location: str) -> bool:
    """Tell whether a location is in the web."""
    return location.lower().startswith(("http://", "https://"))


def shown_location(location: str) -> str:
    """Return a location as messages and reports may have it: an address without its secrets, such as a token."""
    return hide_secrets(location) if is_http(location) else location


def absolute_location(uri: str) -> str:
    """Return where a catalogue is, absolutely. Raises `CatalogueError`."""
    if not uri.strip():
        raise CatalogueError(f"name a catalogue: {FORMS}")
    if is_http(uri):
        return uri.strip()
    if is_s3(uri):
        return uri.rstrip("/")
    if uri[:5].lower() == "file:":
        try:
            return str(Path(file_path(uri)).resolve())
        except ValueError as error:
            raise CatalogueError(str(error)) from error
    if "://" in uri:
        raise CatalogueError(f"{uri}: a catalogue is read from a path, file://, s3:// or https://")
    return str(Path(uri).expanduser().resolve())


def is_table(location: str) -> bool:
    """Tell whether a location is one file or a folder of parts, and not a folder of pictures."""
    if is_http(location):
        return True
    if is_s3(location):
        return _named_kind(location) is not None or bool(_s3_parts(location)) or _is_object(location)
    return Path(location).is_file() or bool(_local_parts(Path(location)))


@contextmanager
def open_source(location: str, policy: FetchPolicy, folder: Path) -> Iterator[Source]:
    """Yield a table as local files: tables are read twice, and in no order that suits a network.

    Raises `CatalogueError`, and what fetching and stores raise.
    """
    name, charset = _file_name(location), None
    if is_http(location):
        patient = replace(policy, total_seconds=max(policy.total_seconds, CATALOGUE_SECONDS))
        file = folder / "fetched"
        body, content_type = fetch_typed(location, patient, max_bytes=MAX_FETCHED_BYTES)
        file.write_bytes(body)
        files, charset = [file], _charset_of(content_type)
    elif is_s3(location):
        keys = [location] if _is_object(location) else _s3_parts(location)
        files = [_download_s3(key, folder / f"part-{number}") for number, key in enumerate(keys or [location])]
        name = _file_name((keys or [location])[0])
    elif Path(location).is_dir():
        files = _local_parts(Path(location))
        name = files[0].name
    else:
        files = [Path(location)]
    shown = shown_location(location)
    plain = [_unpack(file, folder / f"plain-{number}", shown) for number, file in enumerate(files)]
    yield Source(_find_kind(plain[0], name, shown), plain, charset)


def _charset_of(content_type: str) -> str | None:
    header = Message()
    header["Content-Type"] = content_type
    return header.get_content_charset()


def _file_name(location: str) -> str:
    return PurePosixPath(unquote(urlsplit(location).path) if is_http(location) else location).name


def _named_kind(name: str) -> str | None:
    """Return the kind that a name says; None for one that says none."""
    path = PurePosixPath(name.lower())
    if path.suffix in _PACKED:
        return _KINDS.get(PurePosixPath(path.stem).suffix)
    return _KINDS.get(path.suffix)


def _local_parts(folder: Path) -> list[Path]:
    """Return the parts of a table that Spark, Dask and the like write as a folder; none for a folder of pictures."""
    if not folder.is_dir():
        return []
    shown = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    if shown and all("=" in path.name and path.is_dir() for path in shown):  # by value: year=2026/part-0.parquet
        return sorted(path for path in folder.glob("*=*/*.parquet") if not path.name.startswith((".", "_")))
    kinds = {_named_kind(path.name) if path.is_file() else None for path in shown}
    if len(kinds) != 1 or None in kinds:
        return []
    return shown if len(shown) > 1 or _is_part(folder, shown[0]) else []


def _is_part(folder: Path, file: Path) -> bool:
    """Tell whether a folder's only file is its table: it is named as one, or its file as a part."""
    return _named_kind(folder.name) is not None or file.name.startswith("part") or _named_kind(file.name) == "parquet"


def _s3_parts(location: str) -> list[str]:
    from lookalike.data.stores.s3 import list_objects  # noqa: PLC0415 - a local catalogue need not import boto

    parts: list[str] = []
    for name, _ in list_objects(location):
        last = name.rpartition("/")[2]
        if last.startswith((".", "_")):
            continue
        if _named_kind(last) != "parquet":
            return []
        parts.append(f"{location}/{name}")
    return sorted(parts)


def _is_object(location: str) -> bool:
    from lookalike.data.stores.s3 import file_system, translate_errors  # noqa: PLC0415 - a local catalogue need not import boto

    with translate_errors(location):
        return bool(file_system().isfile(location))


def _download_s3(location: str, file: Path) -> Path:
    from lookalike.data.stores.s3 import file_system, translate_errors  # noqa: PLC0415 - a local catalogue need not import boto

    with translate_errors(location):
        file_system().get_file(location, str(file))
    return file


def _unpack(file: Path, target: Path, location: str) -> Path:
    """Return a file that is not compressed. Raises `CatalogueError`."""
    with file.open("rb") as opened:
        head = opened.read(6)
    opener = next((open_packed for magic, open_packed in _OPENERS if head.startswith(magic)), None)
    try:
        if opener is not None:
            with opener(file) as packed:
                _copy(packed, target, location)
            return target
        if head.startswith(b"PK\x03\x04"):
            _unzip(file, target, location)
            return target
    except (EOFError, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise CatalogueError(
            f"the catalogue {location} cannot be unpacked: {error}: fetch or export it again"
        ) from error
    return file


def _unzip(file: Path, target: Path, location: str) -> None:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if any(name.startswith("xl/") for name in names):
            raise CatalogueError(f"{location} is a workbook of a spreadsheet: save it as CSV, in UTF-8")
        tables = [name for name in names if _named_kind(name)]
        if len(tables) != 1:
            raise CatalogueError(f"{location} is an archive of {len(names):,} files: give the one with the products")
        with archive.open(tables[0]) as packed:
            _copy(packed, target, location)


def _copy(packed: Readable, target: Path, location: str) -> None:
    size = 0
    with target.open("wb") as opened:
        while chunk := packed.read(_CHUNK):
            size += len(chunk)
            if size > MAX_UNPACKED_BYTES:
                raise CatalogueError(
                    f"the catalogue {location} is too large when it is unpacked: {size:,} bytes so far"
                )
            opened.write(chunk)


def _find_kind(file: Path, name: str, location: str) -> str:
    """Return `csv`, `json` or `parquet`. Raises `CatalogueError` for what is none."""
    with file.open("rb") as opened:
        head = opened.read(4096)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    if text.startswith(b"<"):
        what = "a page of HTML, perhaps one to log in" if b"<html" in text.lower() else "XML"
        raise CatalogueError(f"{location} is {what}: give {FORMS}; many shop programs also export CSV")
    named = _named_kind(name)
    if named is not None:
        return named
    if text.startswith((b"{", b"[{")):
        return "json"
    is_wide = head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[1::2].count(0) > len(head) / 4
    first = text.partition(b"\n")[0]
    if (b"\x00" in head and not is_wide) or not any(sign in first for sign in b",;\t|"):
        raise CatalogueError(f"{location} is no catalogue: a catalogue is {FORMS}")
    return "csv"


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for copies, which goes when it is left."""
    return tempfile.TemporaryDirectory(prefix="lookalike-catalogue-")
