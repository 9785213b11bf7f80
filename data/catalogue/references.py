"""References to pictures, as feeds, spreadsheets and pages write them.

A feed from the web names pictures in the web only: nothing that it says is ever looked for on this machine's disks.
"""

from __future__ import annotations

import html
import json
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, urljoin

PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
# what needs no look at each: nothing in them can mean anything else
PLAIN_ADDRESS: Final = r"^https?://[^\s,;|&\[\]{}\"']+$"
PLAIN_NAME: Final = r"^[^\s,;|&\[\]{}\"':/\\][^,;|&\[\]{}\"':\\\r\n]*[^\s,;|&\[\]{}\"':\\]$"
MOST_NAMES = 200_000  # of a folder, that are looked through for another spelling
_WEB = ("http://", "https://")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")
_DRIVE_BELOW = re.compile(r"(.*?)/(?:[a-zA-Z]:[\\/]|\\\\)(.+)", re.DOTALL)
_PICTURE = re.compile(rf"\.(?:{'|'.join(one[1:] for one in sorted(PICTURE_SUFFIXES))})(?:[?#].*)?$", re.IGNORECASE)
_TAG = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)
_WIDTH = re.compile(r"\s+\d+(?:\.\d+)?[wx]$")  # as in srcset="a.jpg 1x, b.jpg 2x"
_BETWEEN = re.compile(r"\s*[,;|]\s*|\s*[\r\n]+\s*")
_KEYS = ("src", "url", "link", "href", "image", "path")


def list_references(value: Any) -> list[str]:
    """Return all references of a cell or a list, in order. One picture in several sizes is one."""
    return [one for one in _references(value) if one]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _references(one)
    elif isinstance(value, dict):
        yield from _references(next((value[key] for key in _KEYS if value.get(key)), None))
    elif isinstance(value, str):
        text = value.strip().replace("\\/", "/")  # as JSON may write a slash
        if tags := _TAG.findall(text):
            yield from tags
            return
        if text[:1] in {"[", "{"} and text[-1:] in {"]", "}"}:
            try:
                parsed = json.loads(text)
            except (ValueError, RecursionError):
                parsed = None
            if parsed is not None:
                yield from _references(parsed)
                return
        yield from _split(text)


def _split(text: str) -> Sequence[str]:
    """Split a cell where each part is a picture: a comma may as well be part of an address."""
    parts = [part for part in (part.strip(" \t\"'") for part in _BETWEEN.split(text)) if part]
    is_one_in_sizes = len(parts) > 1 and all(map(_WIDTH.search, parts))
    parts = [_WIDTH.sub("", part) for part in parts]
    if is_one_in_sizes:
        return parts[:1]
    if len(parts) > 1:
        are_web = [part.lower().startswith((*_WEB, "//")) for part in parts]
        if all(are_web) or (not any(are_web) and all(map(_PICTURE.search, parts))):
            return parts
    return [text.strip("\"'") if text[:1] == text[-1:] else text]


def absolute_reference(reference: str, base: str) -> str:
    """Return where a picture is: a path, or s3://, https://…

    Args:
        reference: as it is written.
        base: the folder of the catalogue: a path, or s3://, https://…

    Raises `ValueError`, which says what is wrong.
    """
    if reference[:5].lower() == "data:":
        raise ValueError("the picture is inside the catalogue: write it into a file, and its path into this column")
    if reference.lower().startswith((*_WEB, "//", "www.")):
        return _web_address(reference, base)
    if base.startswith(_WEB):
        return _below_web(reference, base)
    if reference[:5].lower() == "file:":
        return file_path(reference)
    if "://" in reference:
        return reference
    if base.startswith("s3://"):
        return reference if reference.startswith("/") else _below_bucket(reference, base)
    return reference if reference.startswith("/") else f"{base}/{reference}"


def file_path(reference: str) -> str:
    """Return the path of `file:///…`, `file://localhost/…` or `file:/…`. Raises `ValueError`."""
    rest = reference[5:]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in {"", "localhost", "127.0.0.1"}:
            raise ValueError(f"{reference} is on another machine, {host}: mount its folder, and write the path")
        rest = slash + path
    rest = rest.partition("?")[0] if "?" in rest and not os.path.exists(rest) else rest  # noqa: PTH110 - no path yet
    return rest if os.path.exists(rest) else unquote(rest)  # noqa: PTH110 - no path yet


def _web_address(reference: str, base: str) -> str:
    scheme = "http:" if base.startswith("http://") else "https:"
    start = {"//": scheme, "ww": f"{scheme}//"}.get(reference[:2].lower(), "")
    return html.unescape(start + reference).replace(" ", "%20").replace("\\", "/")


def _below_web(reference: str, base: str) -> str:
    if reference[:5].lower() == "file:" or _DRIVE.match(reference) or reference.startswith("\\\\"):
        raise ValueError(f"{reference} is a path of some machine, and a feed from the web can only name addresses")
    if _SCHEME.match(reference) and "://" in reference:
        raise ValueError(f"{reference}: a feed from the web can only name http:// and https:// addresses")
    return urljoin(f"{base}/", html.unescape(reference).replace("\\", "/").replace(" ", "%20"))


def _below_bucket(reference: str, base: str) -> str:
    scheme, _, rest = base.partition("://")  # a bucket does not know `..`
    return f"{scheme}:/" + posixpath.normpath(f"/{rest}/{reference}")


def find_spelling(path: str) -> str | None:
    """Return the file that a path without one means; None where there is none, or several.

    Tried are backslashes, percent signs, the path of a Windows machine below the catalogue's folder, and the names of
    each folder with accents and capitals written in another way.
    """
    for guess in _guesses(path):
        if os.path.isfile(guess):  # noqa: PTH113 - millions of texts, not paths
            return guess
        if (found := _walk(guess)) is not None:
            return found
    return None


def find_key_spellings(reference: str) -> list[str]:
    """Return what else an object in a bucket may be called."""
    slashes = reference.replace("\\", "/")
    guesses = [slashes, unquote(slashes), *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))]
    return [guess for guess in dict.fromkeys(guesses) if guess != reference]


def _guesses(path: str) -> Iterator[str]:
    below = _DRIVE_BELOW.fullmatch(path)
    if below:  # the longest end of C:\shop\pictures\1.jpg that is there
        base, parts = below[1], re.split(r"[\\/]+", below[2])
        yield from (posixpath.join(base, *parts[start:]) for start in range(len(parts)))
        return
    slashes = posixpath.normpath(path.replace("\\", "/"))
    yield from dict.fromkeys((slashes, unquote(slashes)))


def _walk(path: str) -> str | None:
    """Follow a path, each name of it as its folder writes it."""
    found = "/"
    for name in path.strip("/").split("/"):
        direct = posixpath.join(found, name)
        if os.path.lexists(direct):
            found = direct
            continue
        alike = _names(found).get(_key(name), ())
        same = [one for one in alike if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", name)]
        chosen = same or list(alike)
        if len(chosen) != 1:
            return None
        found = posixpath.join(found, chosen[0])
    return found if os.path.isfile(found) else None  # noqa: PTH113 - as above


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@lru_cache(maxsize=16)
def _names(folder: str) -> dict[str, tuple[str, ...]]:
    """Return the names in a folder by what is the same of all their spellings; none of a folder with too many."""
    names: dict[str, tuple[str, ...]] = {}
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count == MOST_NAMES:
                    return {}
                key = _key(entry.name)
                names[key] = (*names.get(key, ()), entry.name)
    except OSError:
        return {}
    return names


def forget_folders() -> None:
    """Forget the names of folders, which may have changed."""
    _names.cache_clear()
