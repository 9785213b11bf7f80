"""Write the OpenAPI document into a file: `python -m tests.clients.typescript.document FILE`, for `make clients`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import ServingSettings


def write_document(file: Path) -> None:
    """Write the document of a server with the default settings."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ServingSettings(_env_file=None, store=folder, cache=Path(folder) / "cache")
        document = create_app(Runtime(settings)).openapi()
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_document(Path(sys.argv[1]))
