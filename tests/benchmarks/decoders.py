"""What decoding and fitting a picture costs, by library.

    python -m venv build/decoders
    build/decoders/bin/pip install pillow numpy simplejpeg pyspng opencv-python-headless
    python -m tests.benchmarks.decoders [FOLDER] [--python build/decoders/bin/python] [--output FILE]

A photo of 12 megapixels and one of 800 pixels are made; pictures of 320 pixels are the PNG files below FOLDER, which
have transparency (those of `make demo` are in `.lookalike/samples`). Times are of one thread, the median of nine
rounds, in which the libraries take turns (`decoders_apart.py`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.apart import measure_apart
from tests.benchmarks.results import add_output, write_result, write_table


def table(figures: dict[str, Any]) -> str:
    """Return the milliseconds of each library, as Markdown."""
    ways = [way for found in figures["ms"].values() for way in found]
    libraries = list(dict.fromkeys(way.partition(", ")[0] for way in ways))
    rows = [[title, *(_write_ways(found, library) for library in libraries)] for title, found in figures["ms"].items()]
    return write_table(["picture, ms", *libraries], rows)


def _write_ways(found: dict[str, float], library: str) -> str:
    own = ((way.partition(", ")[2], ms) for way, ms in found.items() if way.partition(", ")[0] == library)
    return "; ".join(f"{ms:.1f}, {how}" if how else f"{ms:.1f}" for how, ms in own)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--python", type=Path, default=Path("build/decoders/bin/python"), help="that has the libraries")
    add_output(parser)
    options = parser.parse_args()
    figures = measure_apart(options.python, "decoders_apart.py", *([str(options.folder)] if options.folder else []))
    sys.stdout.write(f"{table(figures)}\n")
    if options.output:
        write_result(options.output, figures)


if __name__ == "__main__":
    main()
