"""Measure the serving tier: `python -m tests.benchmarks.serving FOLDER [PART …]`.

FOLDER has the pictures to search with; `make demo ONCE=1` renders some into `.lookalike/samples/`. Snapshots are made
first, with the default encoder over made vectors. `images` takes `--jina PYTHON`, a Python that has Jina; without it
that peer is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.serving import flood, images, lookups, processes, swaps, variants
from tests.benchmarks.serving.shops import Shop, Size

PARTS = ("images", "variants", "processes", "lookups", "swaps", "flood")


def main() -> None:
    """Measure the parts that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--jina", type=Path, help="a Python that has Jina 3")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement, but swaps and the flood")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--flood-seconds", type=float, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as scratch:
        folder = Path(scratch)
        shop = Shop(folder / "shop", Size(100_000, 1))
        shop.publish(shop.make(0))
        for part in arguments.parts or PARTS:
            sys.stdout.write(f"\n{part}\n\n")
            (folder / part).mkdir()
            if part == "images":
                images.measure(arguments.pictures, shop, folder / part, arguments.seconds, arguments.jina)
            elif part == "processes":
                processes.measure(arguments.pictures, shop, folder / part, arguments.seconds)
            elif part == "variants":
                variants.measure(arguments.pictures, shop, folder / part, arguments.seconds)
            elif part == "lookups":
                lookups.measure(shop, folder / part, arguments.seconds)
            elif part == "swaps":
                swaps.measure(arguments.pictures, folder / part, arguments.swaps)
            else:
                flood.measure(arguments.pictures, shop, folder / part, arguments.flood_seconds)


if __name__ == "__main__":
    main()
