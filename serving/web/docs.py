"""The interactive documentation: Swagger UI from a package that is installed here, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from starlette.responses import FileResponse, Response

from lookalike.serving.web.page import STATIC

PACKAGE = "fastapi_swagger"
FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}


def find_swagger() -> Mapping[str, Path]:
    """Return the files of Swagger UI by name, none where the package is not installed. It is never imported."""
    found = find_spec(PACKAGE)
    folders = [] if found is None else found.submodule_search_locations or []
    files = {name: Path(folder, "resources", name) for folder in folders for name in FILES}
    return {name: file for name, file in files.items() if file.is_file()}


SWAGGER = find_swagger()


def write_docs() -> Response:
    """Return the page. It needs all files of Swagger UI."""
    return FileResponse(STATIC / "docs.html", headers=HEADERS)
