"""How well words find products, and how fast: on the sample's titles, and on many made ones.

    python -m tests.benchmarks.texts [--folder build/emojibase] [--rows 100000 1000000] [--output FILE]

Fetches the npm package `emojibase-data` (MIT, CLDR's names and keywords) into the folder once, with npm. The questions
are names that the sample does not use, keywords of which the title lacks some, and two words of the title. Catalogues
in German and Chinese have CLDR's names as titles; their questions are two words of the title, and keywords.
Prints Markdown tables. Times are those of a core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from lookalike.data.snapshots import blobs
from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.openmoji import list_pictures
from lookalike.tasks.build.words import store_words
from lookalike.tasks.search.words.tokens import tokenise
from lookalike.tasks.search.words.words import Words
from tests.benchmarks.results import add_output, write_result, write_table

PACKAGE = "emojibase-data@17.0.0"
QUESTIONS = 400
VOCABULARY = 60_000
BRANDS = 500
ASKED = 300

Question = tuple[str, int]
"""A text, and the row of the one product that it means."""


def fetch(folder: Path) -> Path:
    """Return the folder of the package, fetched once."""
    found = folder / "package"
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
        with tarfile.open(folder / packed.stdout.decode().strip()) as archive:
            for member in archive:  # `extractall` is safe from Python 3.11.4 on only
                if member.name.endswith("/data.json") and (file := archive.extractfile(member)):
                    path = found / Path(member.name).parent.name / "data.json"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.read())
    return found


def read_names(package: Path, language: str) -> dict[str, dict[str, Any]]:
    """Return label and tags of each emoji, by its code."""
    emoji = json.loads((package / language / "data.json").read_text(encoding="utf-8"))
    return {one["hexcode"].replace("-FE0F", ""): one for one in emoji}


def build(titles: Sequence[str], brands: Sequence[str] | None = None) -> tuple[Words, float, float]:
    """Return the words of a catalogue, the seconds of a core that they took, and their bytes for each product."""
    columns: dict[str, pa.Array] = {"title": pa.array(titles)}
    if brands is not None:
        columns["attributes"] = pa.StructArray.from_arrays([pa.array(brands)], ["brand"])
    with tempfile.TemporaryDirectory() as folder:
        store, start = LocalStore(Path(folder)), time.process_time()
        blob = store_words(store, pa.table(columns))
        seconds = time.process_time() - start
        file = Path(folder) / "mapped"
        file.write_bytes(blobs.read(store, blob))
        return Words.open([file], [len(titles)]), seconds, blob.size / len(titles)


def find_ranks(words: Words, questions: Sequence[Question]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return at which place each question finds what it means, infinity for those that do not."""
    ranks = []
    for text, meant in questions:
        found = words.query(text).candidates(1000, None).tolist()
        ranks.append(found.index(meant) + 1 if meant in found else np.inf)
    return np.array(ranks)


def measure_ranks(words: Words, questions: Sequence[Question]) -> dict[str, float]:
    """Return how often some questions find what they mean first, and among ten."""
    ranks = find_ranks(words, questions)
    return {
        "asked": len(questions),
        "hit_at_1": float((ranks <= 1).mean()),
        "hit_at_10": float((ranks <= 10).mean()),
        "mean_reciprocal_rank": float((1 / ranks).mean()),
    }


def choose(questions: list[Question], count: int = QUESTIONS) -> list[Question]:
    """Return so many of some questions, the same each time."""
    return Random(0).sample(questions, min(count, len(questions)))


def ask_two_words(titles: Sequence[str], least: int = 2) -> list[Question]:
    """Return two words of each title that has at least so many, in any order."""
    random, found = Random(1), []
    for row, title in enumerate(titles):
        words = list(dict.fromkeys(tokenise(title)))
        if len(words) >= least:
            found.append((" ".join(random.sample(words, 2)) + " ", row))
    return choose(found, 300)


def ask_keywords(titles: Sequence[str], tags: Sequence[Sequence[str]]) -> list[Question]:
    """Return the keywords of each product whose title has not all of them."""
    found = []
    for row, (title, own) in enumerate(zip(titles, tags, strict=True)):
        words = dict.fromkeys(word for tag in own for word in tokenise(tag))
        if words.keys() - set(tokenise(title)):
            found.append((" ".join(words) + " ", row))
    return choose(found)


def measure_quality(package: Path) -> dict[str, dict[str, float]]:
    """Return for each kind of question how often the product that is meant comes first, or among ten."""
    sample = list_pictures()
    english = read_names(package, "en")
    named = [english.get(one.hexcode, {}) for one in sample]
    titles = [one.title for one in sample]
    words, _, _ = build(titles)
    other = [
        (one["label"] + " ", row)
        for row, one in enumerate(named)
        if one and set(tokenise(one["label"])) != set(tokenise(titles[row]))
    ]
    kinds = {
        "another name (CLDR's), sample's titles": other,
        "keywords, of which the title lacks some": ask_keywords(titles, [one.get("tags", ()) for one in named]),
        "two words of the title": ask_two_words(titles),
        "two words of titles with three or more": ask_two_words(titles, 3),
        "two words of the title, one with a letter missing": [
            (_mistype(text.strip()) + " ", row) for text, row in ask_two_words(titles)
        ],
    }
    found = {kind: measure_ranks(words, questions) for kind, questions in kinds.items()}
    for language, name in (("de", "German"), ("zh", "Chinese")):
        found |= _measure_foreign(name, list(read_names(package, language).values()))
    return found


def _measure_foreign(name: str, names: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    known = [one for one in names if one.get("group") not in {None, 2}]
    titles, tags = [one["label"] for one in known], [one.get("tags", ()) for one in known]
    words, _, _ = build(titles)
    return {
        f"{name} titles ({len(known):,}): two words or pairs": measure_ranks(words, ask_two_words(titles)),
        f"{name}: keywords, of which the title lacks some": measure_ranks(words, ask_keywords(titles, tags)),
    }


def _mistype(text: str) -> str:
    first, _, second = text.partition(" ")
    return f"{first} {second[:1] + second[2:]}" if len(second) > 3 else f"{first[:1] + first[2:]} {second}"


def measure_speed(rows: int) -> dict[str, Any]:
    """Return what a catalogue of made titles costs."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["".join(letters[random.integers(0, 26, random.integers(4, 11))]) for _ in range(VOCABULARY)]
    share = 1 / (np.arange(VOCABULARY) + 5.0)
    chosen = random.choice(VOCABULARY, (rows, 6), p=share / share.sum())
    titles = [" ".join(vocabulary[word] for word in row) for row in chosen]
    words, seconds, size = build(titles, [vocabulary[one] for one in random.integers(0, BRANDS, rows)])
    asked = [titles[row].split() for row in random.integers(0, rows, ASKED)]
    pairs = [" ".join(random.choice(some, 2, replace=False)) for some in asked]
    mask = random.random(rows) < 0.1
    queries = {
        "two words": _time(words, [text + " " for text in pairs]),
        "10 % pass a filter": _time(words, [text + " " for text in pairs], mask),
        "typing": _time(words, [text[:-2] for text in pairs]),
        "mistyped": _time(words, [text[:2] + text[3:] + " " for text in pairs]),
        "frequent words": _time(words, [" ".join(vocabulary[:3]) + " "] * 20),
    }
    return {"products": rows, "build_seconds": seconds, "bytes_a_product": size, "queries": queries}


def _time(
    words: Words, texts: Sequence[str], mask: np.ndarray[Any, np.dtype[np.bool_]] | None = None
) -> dict[str, float]:
    times = []
    for text in texts:
        start = time.process_time()
        query = words.query(text)
        query.scores(query.candidates(32, mask))
        times.append(1000 * (time.process_time() - start))
    return {"p50_ms": float(np.median(times)), "p99_ms": float(np.percentile(times, 99))}


def table(figures: dict[str, Any]) -> str:
    """Return what questions find, then what catalogues of several sizes cost, as Markdown."""
    return f"{_quality_table(figures['questions'])}\n\n{_speed_table(figures['catalogues'])}"


def _quality_table(questions: dict[str, dict[str, float]]) -> str:
    rows = [
        [
            kind,
            str(found["asked"]),
            *(f"{found[name]:.3f}" for name in ("hit_at_1", "hit_at_10", "mean_reciprocal_rank")),
        ]
        for kind, found in questions.items()
    ]
    return write_table(["questions", "", "hit@1", "hit@10", "MRR"], rows)


def _speed_table(catalogues: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            f"{one['products']:,}",
            f"{one['build_seconds']:.1f} s",
            f"{one['bytes_a_product']:.0f} B",
            *(f"{times['p50_ms']:.2f} / {times['p99_ms']:.2f}" for times in one["queries"].values()),
        ]
        for one in catalogues
    ]
    kinds = [kind for one in catalogues[:1] for kind in one["queries"]]
    return write_table(["products", "build", "a product", *kinds], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Search by words: how well and how fast.")
    parser.add_argument("--folder", type=Path, default=Path("build/emojibase"))
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    add_output(parser)
    options = parser.parse_args(argv)
    questions = measure_quality(fetch(options.folder))
    figures = {"questions": questions, "catalogues": [measure_speed(rows) for rows in options.rows]}
    sys.stdout.write(f"{table(figures)}\n")
    if options.output:
        write_result(options.output, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
