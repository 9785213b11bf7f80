"""How well words find products, and how fast: on the sample's titles, and on many made ones.

    python -m tests.benchmarks.texts [--folder build/emojibase] [--rows 100000 1000000]

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

PACKAGE = "emojibase-data@17.0.0"
QUESTIONS = 400
VOCABULARY = 60_000
BRANDS = 500
ASKED = 300

Question = tuple[str, int]
"""A text, and the row of the one product that it means."""


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def fetch(folder: Path) -> Path:
    """Return the folder of the package, fetched once."""
    found = folder / "package"
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
        with tarfile.open(folder / packed.stdout.decode().strip()) as archive:
            archive.extractall(folder, filter="data")
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


def describe(name: str, words: Words, questions: Sequence[Question]) -> str:
    """Return a row of the table of quality."""
    ranks = find_ranks(words, questions)
    shown = [f"{(ranks <= depth).mean():.3f}" for depth in (1, 10)] + [f"{(1 / ranks).mean():.3f}"]
    return f"| {name} | {len(questions)} | {' | '.join(shown)} |"


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


def print_quality(package: Path) -> None:
    """Print how often the product that is meant comes first, or among ten."""
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
    _print("| questions | | hit@1 | hit@10 | MRR |\n|---|---|---|---|---|")
    _print(describe("another name (CLDR's), sample's titles", words, other))
    _print(
        describe(
            "keywords, of which the title lacks some",
            words,
            ask_keywords(titles, [one.get("tags", ()) for one in named]),
        )
    )
    _print(describe("two words of the title", words, ask_two_words(titles)))
    _print(describe("two words of titles with three or more", words, ask_two_words(titles, 3)))
    mistyped = [(_mistype(text.strip()) + " ", row) for text, row in ask_two_words(titles)]
    _print(describe("two words of the title, one with a letter missing", words, mistyped))
    for language, name in (("de", "German"), ("zh", "Chinese")):
        found = [one for one in read_names(package, language).values() if one.get("group") not in {None, 2}]
        foreign = [one["label"] for one in found]
        words, _, _ = build(foreign)
        tags = [one.get("tags", ()) for one in found]
        _print(describe(f"{name} titles ({len(found):,}): two words or pairs", words, ask_two_words(foreign)))
        _print(describe(f"{name}: keywords, of which the title lacks some", words, ask_keywords(foreign, tags)))


def _mistype(text: str) -> str:
    first, _, second = text.partition(" ")
    return f"{first} {second[:1] + second[2:]}" if len(second) > 3 else f"{first[:1] + first[2:]} {second}"


def print_speed(rows: int) -> None:
    """Print what a catalogue of made titles costs."""
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
    cells = [
        _time(words, [text + " " for text in pairs]),
        _time(words, [text + " " for text in pairs], mask),
        _time(words, [text[:-2] for text in pairs]),
        _time(words, [text[:2] + text[3:] + " " for text in pairs]),
        _time(words, [" ".join(vocabulary[:3]) + " "] * 20),
    ]
    _print(f"| {rows:,} | {seconds:.1f} s | {size:.0f} B | {' | '.join(cells)} |")


def _time(words: Words, texts: Sequence[str], mask: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> str:
    times = []
    for text in texts:
        start = time.process_time()
        query = words.query(text)
        query.scores(query.candidates(32, mask))
        times.append(1000 * (time.process_time() - start))
    return f"{np.median(times):.2f} / {np.percentile(times, 99):.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Search by words: how well and how fast.")
    parser.add_argument("--folder", type=Path, default=Path("build/emojibase"))
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    options = parser.parse_args(argv)
    print_quality(fetch(options.folder))
    _print("\n| products | build | a product | two words | 10 % pass a filter | typing | mistyped | frequent words |")
    _print("|---|---|---|---|---|---|---|---|")
    for rows in options.rows:
        print_speed(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
