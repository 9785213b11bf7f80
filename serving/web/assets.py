"""The files of the page: held in memory, compressed once, and named by their content."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
VALIDATED = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"
"""For a name that changes when the content does."""


@dataclass(frozen=True)
class Asset:
    """One file of the page."""

    content: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        """The content, as gzip writes it."""
        return gzip.compress(self.content, 9, mtime=0)

    @cached_property
    def etag(self) -> str:
        """The same for both ways to send it, so it is a weak one."""
        return f'W/"{hashlib.sha256(self.content).hexdigest()[:20]}"'

    def respond(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return the file, compressed for those who read that, or 304 for those who have it."""
        given = {"etag": self.etag, "vary": "Accept-Encoding", **headers}
        known = request.headers.get("if-none-match", "")
        if self.etag in {tag.strip() for tag in known.split(",")}:
            return Response(status_code=304, headers=given)
        if _reads_gzip(request.headers.get("accept-encoding", "")):
            given["content-encoding"] = "gzip"
            return Response(self.compressed, media_type=self.media_type, headers=given)
        return Response(self.content, media_type=self.media_type, headers=given)


class Assets:
    """All files of a folder, by name; `version` names their content as a whole."""

    def __init__(self, folder: Path) -> None:
        self._assets = dict(_read_assets(folder))
        together = b"".join(f"{name} {asset.etag}\n".encode() for name, asset in self._assets.items())
        self.version = hashlib.sha256(together).hexdigest()[:12]

    def find(self, path: str) -> tuple[Asset, str] | None:
        """Return the file at a path below `static/` and how long it may be kept, None if there is none.

        Files stand below the version and without it. While servers are replaced, one may be asked for the version of
        another. It answers with its own file, which must not be kept then.
        """
        version, _, name = path.rpartition("/")
        asset = self._assets.get(name)
        if asset is None or "/" in version:
            return None
        return asset, IMMUTABLE if version == self.version else VALIDATED

    def name_versions(self, name: str) -> Asset:
        """Return a page that names its files below the version."""
        page = self._assets[name]
        return Asset(page.content.replace(b'"static/', f'"static/{self.version}/'.encode()), page.media_type)


def _read_assets(folder: Path) -> Iterator[tuple[str, Asset]]:
    for file in sorted(folder.iterdir()):
        if file.suffix in MEDIA_TYPES:
            yield file.name, Asset(file.read_bytes(), MEDIA_TYPES[file.suffix])


def _reads_gzip(accepted: str) -> bool:
    codings = (coding.replace(" ", "").lower().partition(";") for coding in accepted.split(","))
    return any(name == "gzip" and weight not in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for name, _, weight in codings)
