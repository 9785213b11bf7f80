"""Renders the sample catalogue into the bucket, where runs read it."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from lookalike.data.stores.s3 import file_system
from lookalike.infra.demo import openmoji


def main() -> None:
    """Read where to from the environment: `SAMPLE`; and of how many pictures: `SAMPLE_PICTURES`, else of all."""
    place, limit = os.environ["SAMPLE"], _read_limit(os.environ.get("SAMPLE_PICTURES", ""))
    catalogue = f"{place}/{openmoji.CATALOGUE_FILE}"
    files = file_system()
    if files.exists(catalogue):
        return
    with tempfile.TemporaryDirectory() as folder:
        openmoji.render(Path(folder), limit=limit)
        # the table comes last: a catalogue that can be read is whole
        files.put(f"{folder}/images/", f"{place}/images/", recursive=True)
        files.put_file(f"{folder}/{openmoji.CATALOGUE_FILE}", catalogue)
    sys.stdout.write(f"{openmoji.ATTRIBUTION}\n")


def _read_limit(text: str) -> int | None:
    if text and not text.isdecimal():
        raise SystemExit(f"SAMPLE_PICTURES is {text!r}. Give the number of pictures, or nothing for all.")
    return int(text) if text else None


if __name__ == "__main__":
    main()
