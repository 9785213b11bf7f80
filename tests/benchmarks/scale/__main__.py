"""Many products on one machine: build, start, search, swap, refresh and collect, as one JSON document.

    python -m tests.benchmarks.scale --products 1000000 [--folder build/scale] [--output scale.json]

Vectors are made, and no picture is read. Every step of a run is done by the jobs that the flows give to workers, one
after the other, each in a process of its own, so that its peak memory is known. Ten million products take about 25 GB
of disk. A build that was interrupted goes on where it stopped, if it is asked for again with the same options.
`--serve` only serves what was built before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from lookalike.tasks.build.planner import KINDS
from tests.benchmarks.results import add_output, write_result
from tests.benchmarks.scale import serve
from tests.benchmarks.scale.build import Builder
from tests.benchmarks.scale.tables import table

REFRESHED = 1000


def describe_size(manifest: Manifest) -> dict[str, float]:
    """Return the bytes of a snapshot for each product."""
    index = sum(shard.index.size for shard in manifest.shards)
    products = sum(shard.products.size for shard in manifest.shards)
    words = sum(shard.text.size for shard in manifest.shards if shard.text)
    return {name: round(size / manifest.products, 1) for name, size in
            (("index", index), ("products", products), ("words", words))}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Do it, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("build/scale"), help="for the store and the server's cache")
    add_output(parser)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--kind", choices=KINDS, help="of index; by default the planner measures and chooses")
    parser.add_argument("--on-disk", action="store_true", help="leave inverted lists on the server's disk")
    parser.add_argument("--words", action="store_true", help="build the words of titles and attributes, too")
    parser.add_argument("--text-encoder", help="build an index of titles for it, of made vectors; it encodes queries")
    parser.add_argument("--serve", action="store_true", help="serve what the folder holds, and build nothing")
    given = parser.parse_args(argv)
    folder: Path = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    options = (given.products, given.kind, given.on_disk, given.words, given.text_encoder)
    builder = Builder(
        str(folder / "store"),
        given.threads,
        kept=folder / f"steps-{zlib.crc32(repr(options).encode()):08x}",
        words=given.words,
        kind=given.kind,
        on_disk=given.on_disk,
        text_encoder=given.text_encoder,
    )
    if given.serve:
        store = open_store(builder.store)
        manifest = read_manifest(store, Channel(store).current().snapshot)
    else:
        manifest = builder.build(given.products)
    served = serve.measure(folder, manifest, given.seconds, lambda: builder.refresh(manifest, REFRESHED))
    builder.collect()
    figures = {
        "products": manifest.products,
        "bytes_a_product": describe_size(manifest),
        "build": builder.figures,
        "serve": served,
    }
    sys.stdout.write(f"{json.dumps(figures, indent=2)}\n\n{table(figures)}\n")
    if given.output:
        write_result(given.output, figures)


if __name__ == "__main__":
    main()
