"""Folders of pictures, local and in buckets: what is a product there, and what was left out and why.

A file is a picture if its first bytes say so; names are only asked first, for they cost nothing.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from lookalike.data.catalogue.findings import Findings, shorten
from lookalike.data.catalogue.references import PICTURE_SUFFIXES
from lookalike.data.fetch.images import s3_version, stat_version

Listed: TypeAlias = tuple[str, str, str]
"""A picture's name below the folder, its reference, and its version."""

# what storage boxes, systems and programs keep beside the files of people: copies, thumbnails, deleted files
WASTE: Final = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin", "@download"),
        *("$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "__macosx"),
        *("thumbnails", "_thumbs", "@__thumb", "found.000", "network trash folder", "temporary items", "lost.dir"),
    }
)
# surely no pictures, so their bytes are not asked
_OTHER: Final = frozenset(
    {
        *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".css", ".js", ".md", ".yaml", ".yml"),
        *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ods", ".odt", ".psd", ".ai", ".eps", ".svg", ".xmp", ".aae"),
        *(".mp4", ".mov", ".avi", ".mkv", ".mp3", ".wav", ".zip", ".gz", ".tar", ".7z", ".rar", ".parquet"),
        *(".db", ".ini", ".log", ".lnk", ".url", ".py", ".sh", ".exe", ".dll", ".part", ".crdownload", ".tmp"),
    }
)
MARKER: Final = "lookalike-store.json"  # of `data/snapshots/documents.py`, which a catalogue may not import
MOST_SUFFIXES: Final = 100
_OF_STORE = re.compile(r"/(?:contact-sheets|objects/sha256|embeddings|catalogues)/")
_HEAD = 32
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


def is_picture(head: bytes) -> bool:
    """Tell whether a file begins as pictures do."""
    if head.startswith(
        (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"II+\x00")
    ):
        return True
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return True
    if head.startswith(b"BM"):  # two letters are few: the size of the next header must be one that there is
        return int.from_bytes(head[14:18], "little") in {12, 16, 40, 52, 56, 64, 108, 124}
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


class FolderList:
    """Lists the pictures of a folder."""

    def __init__(self, location: str, findings: Findings, store: str | None) -> None:
        """Prepare a listing.

        Args:
            store: where the run's own store is, which is left out.
        """
        self._location = location
        self._findings = findings
        self._store = store and store.rstrip("/")
        self._others: Counter[str] = Counter()
        self._stores: dict[str, bool] = {}

    def local(self) -> Iterator[Listed]:
        """Yield the pictures of a local folder, folder by folder, in the order of names."""
        if not Path(self._location).is_dir():
            raise FileNotFoundError(self._location)
        open_: list[Iterator[os.DirEntry[str]]] = [iter(_scan(self._location))]
        prefixes = [""]
        while open_:
            entry = next(open_[-1], None)
            if entry is None:
                open_.pop()
                prefixes.pop()
            elif _is_hidden(entry.name):
                continue
            elif entry.is_dir(follow_symlinks=False):
                if (inside := self._enter(entry, prefixes[-1])) is not None:
                    open_.append(inside)
                    prefixes.append(f"{prefixes[-1]}{entry.name}/")
            else:
                yield from self._file(entry, prefixes[-1])
        self._note_others()

    def s3(self) -> Iterator[Listed]:
        """Yield the pictures below a prefix of a bucket."""
        from lookalike.data.stores.s3 import list_objects  # noqa: PLC0415 - a local catalogue need not import boto

        for name, entry in list_objects(self._location):
            folders = name.split("/")
            if any(map(_is_hidden, folders)) or name.endswith("/"):
                continue
            waste = next((one for one in folders[:-1] if one.lower() in WASTE), None)
            if waste is not None:
                self._left_out("files in folders of thumbnails, copies and deleted files were left out", waste)
            elif self._is_in_store(f"{self._location}/{name}") or self._is_below_marker(name):
                self._left_out("files of a store of Lookalike were left out", name)
            elif self._is_picture(name, partial(_s3_head, f"{self._location}/{name}")):
                yield unicodedata.normalize("NFC", name), f"{self._location}/{name}", s3_version(entry)
            else:
                self._no_picture(name)
        self._note_others()

    def _is_below_marker(self, name: str) -> bool:
        """Tell whether an object has a name that a store gives, and there is the marker of one."""
        found = _OF_STORE.search(f"/{name}")
        if found is None:
            return name.rpartition("/")[2] == MARKER
        root = f"/{name}"[1 : found.start() + 1]
        if root not in self._stores:
            self._stores[root] = _is_object(f"{self._location}/{root}{MARKER}")
        return self._stores[root]

    def _enter(self, entry: os.DirEntry[str], prefix: str) -> Iterator[os.DirEntry[str]] | None:
        """Return what a folder holds; None where none of it is a product."""
        if entry.name.lower() in WASTE:
            self._left_out("folders of thumbnails, copies and deleted files were left out", prefix + entry.name)
            return None
        if self._is_in_store(entry.path) or os.path.isfile(f"{entry.path}/{MARKER}"):  # noqa: PTH113 - texts, not paths
            self._left_out("a store of Lookalike was left out", prefix + entry.name)
            return None
        try:
            return iter(_scan(entry.path))
        except OSError as error:
            self._left_out(f"folders could not be read ({error.strerror})", prefix + entry.name)
            return None

    def _file(self, entry: os.DirEntry[str], prefix: str) -> Iterator[Listed]:
        with suppress(FileNotFoundError):  # removed while we listed
            try:
                if not entry.is_file():
                    self._other(entry, prefix)
                elif self._is_picture(entry.name, partial(_local_head, entry.path)):
                    yield _name(prefix + entry.name), entry.path, stat_version(entry.stat())
                else:
                    self._no_picture(entry.name)
            except FileNotFoundError:
                raise
            except OSError as error:
                self._left_out(f"files could not be looked at ({error.strerror})", prefix + entry.name)

    def _other(self, entry: os.DirEntry[str], prefix: str) -> None:
        if entry.is_dir():
            self._left_out("links to folders were left out", prefix + entry.name)
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - texts, not paths
            self._left_out("links to files that are not there were left out", prefix + entry.name)
        else:
            self._left_out("pipes, sockets and devices were left out", prefix + entry.name)

    def _is_picture(self, name: str, read_head: Callable[[], bytes]) -> bool:
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a path for each name takes seconds
        if suffix in PICTURE_SUFFIXES:
            return True
        return suffix not in _OTHER and is_picture(read_head())

    def _no_picture(self, name: str) -> None:
        suffix = os.path.splitext(name)[1].lower()[:12]  # noqa: PTH122 - as above
        self._others[suffix if suffix in self._others or len(self._others) < MOST_SUFFIXES else "others"] += 1

    def _note_others(self) -> None:
        if self._others:
            most = self._others.most_common(10)
            kinds = ", ".join(f"{count:,} {shorten(name) or 'without a suffix'}" for name, count in most)
            self._findings.note(f"files that are no pictures were left out ({kinds})", self._others.total())

    def _left_out(self, what: str, example: str) -> None:
        self._findings.note(what, 1, example.encode("utf-8", "backslashreplace").decode())

    def _is_in_store(self, path: str) -> bool:
        return self._store is not None and (path == self._store or path.startswith(f"{self._store}/"))


def _name(name: str) -> str:
    """Return a name with its accents in one form: a Mac writes them in another one than what people type."""
    return unicodedata.normalize("NFC", name) if not name.isascii() else name


def _scan(folder: str) -> list[os.DirEntry[str]]:
    # names are text, not paths: a million of them is listed in seconds
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_hidden(name: str) -> bool:
    """Hidden files are nobody's products: .DS_Store, ._photo.jpg, .thumbnails/."""
    return name.startswith(".")


def _local_head(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without waiting, should it be a pipe by now
    try:
        return os.read(descriptor, _HEAD)
    finally:
        os.close(descriptor)


def _is_object(reference: str) -> bool:
    from lookalike.data.stores.s3 import file_system  # noqa: PLC0415 - a local catalogue need not import boto

    return bool(file_system().isfile(reference))


def _s3_head(reference: str) -> bytes:
    from lookalike.data.stores.s3 import file_system  # noqa: PLC0415 - a local catalogue need not import boto

    try:
        data: Any = file_system().cat_file(reference, start=0, end=_HEAD)
    except OSError:  # empty, or gone meanwhile
        return b""
    return bytes(data)
