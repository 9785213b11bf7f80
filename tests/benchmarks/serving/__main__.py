"""Measure the serving tier: `python -m tests.benchmarks.serving FOLDER [PART …]`.

FOLDER has the pictures to search with; `make demo ONCE=1` renders some into `.lookalike/samples/`. Snapshots are made
first, with `--encoder` over made vectors. `images` takes `--jina PYTHON`, a Python that has Jina; without it
that peer is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.results import OUTPUT, write_result
from tests.benchmarks.serving import flood, images, lookups, processes, swaps, variants
from tests.benchmarks.serving.shops import ENCODER, Shop, Size

PARTS = {
    "images": images,
    "variants": variants,
    "processes": processes,
    "lookups": lookups,
    "swaps": swaps,
    "flood": flood,
}


def main() -> None:
    """Measure the parts that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--encoder", default=ENCODER)
    parser.add_argument("--jina", type=Path, help="a Python that has Jina 3")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement, but swaps and the flood")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--flood-seconds", type=float, default=600)
    parser.add_argument(OUTPUT, type=Path, help="a folder for the figures of each part, as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as scratch:
        folder = Path(scratch)
        shop = Shop(folder / "shop", Size(100_000, 1), arguments.encoder)
        shop.publish(shop.make(0))
        for part in arguments.parts or PARTS:
            (folder / part).mkdir()
            figures = _measure(part, arguments, shop, folder / part)
            sys.stdout.write(f"\n{part}\n\n{PARTS[part].table(figures)}\n")
            sys.stdout.flush()
            if arguments.output:
                write_result(arguments.output / f"serving-{part}.json", figures)


def _measure(part: str, arguments: argparse.Namespace, shop: Shop, folder: Path) -> dict[str, Any]:
    pictures, seconds = arguments.pictures, arguments.seconds
    if part == "images":
        return images.measure(pictures, shop, folder, seconds, arguments.jina)
    if part == "processes":
        return processes.measure(pictures, shop, folder, seconds)
    if part == "variants":
        return variants.measure(pictures, shop, folder, seconds)
    if part == "lookups":
        return lookups.measure(shop, folder, seconds)
    if part == "swaps":
        return swaps.measure(pictures, folder, arguments.swaps)
    return flood.measure(pictures, shop, folder, arguments.flood_seconds)


if __name__ == "__main__":
    main()
