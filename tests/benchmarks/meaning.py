"""What texts cost, and what they find: encoding, the index of texts, and queries by what they mean.

    python -m tests.benchmarks.meaning cost [--count 100000] [--output FILE]
    python -m tests.benchmarks.meaning quality STORE [--folder build/emojibase] [--output FILE]

`cost` makes titles, encodes them with `minilm` and builds their index, on one thread; times are those of the processor.
`quality` asks the published snapshot of the sample catalogue the questions of `tests.benchmarks.texts`. The snapshot
must have been made with `--text-encoder minilm`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import TEXT, ShardSection
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from lookalike.tasks.build import texts as building
from lookalike.tasks.build.texts import TextChoice
from lookalike.tasks.embed.texts import embed_texts
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.content import hash_texts
from lookalike.tasks.encoders.texts.stored import load_text_encoder, store_text_encoder
from lookalike.tasks.search.looks import find_examples
from lookalike.tasks.search.meaning import NearTexts
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.words.tokens import tokenise
from tests.benchmarks.results import add_output, write_result, write_table
from tests.benchmarks.texts import Question, ask_keywords, ask_two_words, fetch, read_names

BRANDS = ("Acme", "Nordlicht", "Bellavista", "Kestrel", "Ostara", "Pinewood", "Quill", "Rivage", "Solano", "Tamarind")
ADJECTIVES = ("red", "blue", "waterproof", "lightweight", "vintage", "slim", "oversized", "organic", "folding", "quiet")
NOUNS = "running shoe,rain jacket,desk lamp,coffee grinder,garden hose,office chair,wool sweater,tea kettle,bike helmet"
AT_A_TIME = 16_384
HELD_OUT = 0.2
SPLITS = 5

Scores = NDArray[np.float32]


def make_titles(count: int) -> list[str]:
    """Return different titles: brand, two adjectives, a noun and a model number."""
    random = np.random.default_rng(1)
    parts = [random.choice(BRANDS, count), *(random.choice(ADJECTIVES, count) for _ in range(2))]
    nouns = random.choice(NOUNS.split(","), count)
    return [
        f"{brand} {one} {two} {noun} {number}"
        for brand, one, two, noun, number in zip(*parts, nouns, itertools.count())
    ]


def measure_cost(count: int) -> dict[str, Any]:
    """Return what encoding, building and asking take."""
    with tempfile.TemporaryDirectory(prefix="lookalike-meaning-") as name:
        folder = Path(name)
        uri = str(folder / "store")
        store = open_store(uri)
        choice = TextChoice(store_text_encoder(store, "minilm"), ("title",))
        encoder = load_text_encoder(uri, choice.encoder, 1)
        titles = make_titles(count)
        encoded = time_work(lambda: _encode(uri, choice, titles))
        shard = _store_products(folder, uri, titles)
        plan = building.plan_texts(uri, choice, [shard], None, threads=1)
        assert plan is not None
        parts: list[building.Part] = []
        indexed = time_work(lambda: parts.append(building.build_text_part(uri, choice, plan, shard, threads=1)))
        built = building.with_text_parts([shard], parts)
        measured = building.evaluate_texts(uri, choice, built, 0.95, threads=1)
        queries = [" ".join(title.split()[1:4]) for title in titles[:: max(1, count // 200)]]
        asked = time_work(lambda: [encode_texts(encoder, [query]) for query in queries])
        return {
            "titles": count,
            "title_ms": 1000 * encoded / count,
            "key": plan.key,
            "build_seconds": indexed,
            "bytes_a_product": built[0].spaces[TEXT].index.size / count,
            "recall": measured.recall,
            "parameters": str(measured.parameters),
            "query_encode_ms": 1000 * asked / len(queries),
            "query_search_ms": 1000 * measured.seconds,
        }


def cost_table(figures: dict[str, Any]) -> str:
    """Return what encoding, building and asking take, as Markdown."""
    columns = [
        "titles encoded",
        f"index built, `{figures['key']}`",
        "index",
        "recall@10",
        "a query encoded",
        "a query searched",
    ]
    row = [
        f"{figures['title_ms']:.2f} ms each",
        f"{figures['build_seconds']:.1f} s",
        f"{figures['bytes_a_product']:.0f} bytes a product",
        f"{figures['recall']:.3f}",
        f"{figures['query_encode_ms']:.2f} ms",
        f"{figures['query_search_ms']:.2f} ms",
    ]
    return write_table(columns, [row])


def _encode(uri: str, choice: TextChoice, titles: Sequence[str]) -> None:
    for start in range(0, len(titles), AT_A_TIME):
        some = titles[start : start + AT_A_TIME]
        table = pa.table({"text_hash": pa.array(hash_texts(some).tolist(), pa.binary(32)), "text": some})
        embed_texts(table, store=uri, encoder=choice.encoder, threads=1)


def _store_products(folder: Path, uri: str, titles: Sequence[str]) -> ShardSection:
    file = folder / "products.parquet"
    pq.write_table(pa.table({"title": titles}), file)
    blob = blobs.put_file(open_store(uri), file)
    return ShardSection.of(index=blob, products=blob, count=len(titles))


class Sample:
    """The published snapshot of the sample catalogue, with the scores of each channel for any text."""

    def __init__(self, store: str, cache: Path) -> None:
        opened = open_store(store)
        manifest = read_manifest(opened, Channel(opened).current().snapshot)
        self.searcher = Searcher.open(opened, manifest, BlobCache(cache), threads=1)
        if self.searcher.texts is None or self.searcher.words is None:
            raise SystemExit("the snapshot knows no words or no texts: lookalike reindex … --text-encoder minilm")
        self.texts, self.words = self.searcher.texts, self.searcher.words
        self.rows = np.arange(self.searcher.products.rows)
        self.products = self.searcher.products.take(self.rows)
        self.pictures = np.stack([self.searcher.direction_of(row) for row in self.rows.tolist()])

    def score(self, text: str, allowed: NDArray[np.bool_] | None = None) -> dict[str, Scores]:
        """Return what each channel gives to all products; texts of those that are not `allowed` are not known."""
        vector = self.texts.embed(text)
        examples = find_examples(self.searcher, NearTexts(self.texts, vector), allowed)
        looks = np.clip(self.pictures @ examples.direction, 0, 1) if examples else np.zeros(len(self.rows), np.float32)
        return {
            "words": self.words.query(text).scores(self.rows),
            "meaning": self.texts.scores(vector, self.rows),
            "looks": looks,
        }


BLENDS: dict[str, Callable[[dict[str, Scores]], Scores]] = {
    "words": lambda of: of["words"],
    "words, equal ones by meaning": lambda of: of["words"] + 1e-4 * of["meaning"],
    "meaning": lambda of: of["meaning"],
    "looks": lambda of: of["looks"],
    "0.5 words + 0.5 meaning": lambda of: 0.5 * of["words"] + 0.5 * of["meaning"],
    "0.5 words + 0.5 meaning + 0.1 looks": lambda of: 0.5 * of["words"] + 0.5 * of["meaning"] + 0.1 * of["looks"],
}


def measure_quality(store: str, package: Path) -> dict[str, Any]:
    """Return hit@1 and hit@10 of each blend for each kind of query, and those of pictures without a title."""
    with tempfile.TemporaryDirectory(prefix="lookalike-meaning-") as cache:
        sample = Sample(store, Path(cache))
        kinds = make_questions(sample, package)
        scored = {kind: [(sample.score(text), row) for text, row in some] for kind, some in kinds.items()}
        blends: dict[str, Any] = {}
        for name, blend in BLENDS.items():
            ranks = {kind: np.array([find_rank(blend(of), row) for of, row in some]) for kind, some in scored.items()}
            mean = np.mean([(1 / (rank + 1)).mean() for rank in ranks.values()])
            hits = {kind: _hits(rank) for kind, rank in ranks.items()}
            blends[name] = {"kinds": hits, "mean_reciprocal_rank": float(mean)}
        among, whole = measure_untitled(sample)
        return {
            "asked": {kind: len(some) for kind, some in kinds.items()},
            "blends": blends,
            "untitled": {"among themselves": _hits(among), "in the whole catalogue": _hits(whole)},
        }


def _hits(ranks: NDArray[np.float64]) -> dict[str, float]:
    return {"hit_at_1": float((ranks < 1).mean()), "hit_at_10": float((ranks < 10).mean())}


def quality_table(figures: dict[str, Any]) -> str:
    """Return hit@1 / hit@10 of each blend for each kind of query, then of pictures without a title, as Markdown."""
    blends = [
        [name, *map(_write_hits, one["kinds"].values()), f"{one['mean_reciprocal_rank']:.3f}"]
        for name, one in figures["blends"].items()
    ]
    asked = [f"{kind} ({count})" for kind, count in figures["asked"].items()]
    untitled = [[where, _write_hits(hits)] for where, hits in figures["untitled"].items()]
    return (
        f"{write_table(['', *asked, 'MRR'], blends)}\n\n"
        f"{write_table(['pictures without a title', 'hit@1 / hit@10'], untitled)}"
    )


def _write_hits(hits: dict[str, float]) -> str:
    return f"{hits['hit_at_1']:.3f} / {hits['hit_at_10']:.3f}"


def measure_untitled(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ranks of pictures whose titles are not known, asked for by these: among them, and among all.

    Among all, products have all channels, and those without a title their picture's score in place of the meaning.
    """
    random, among, whole = np.random.default_rng(0), [], []
    count = len(sample.rows)
    for _ in range(SPLITS):
        held = random.permutation(count)[: int(HELD_OUT * count)]
        titled = np.ones(count, bool)
        titled[held] = False
        for row in held.tolist():
            of = sample.score(sample.products[row].title, titled)
            words, meaning = of["words"] * titled, np.where(titled, of["meaning"], of["looks"])
            blended = 0.5 * words + 0.5 * meaning + 0.1 * of["looks"]
            among.append(find_rank(of["looks"][held], int(np.flatnonzero(held == row)[0])))
            whole.append(find_rank(blended, row))
    return np.array(among), np.array(whole)


def make_questions(sample: Sample, package: Path) -> dict[str, list[Question]]:
    """Return the same kinds of questions that words are measured with, in the order of the snapshot's rows."""
    english = read_names(package, "en")
    named = [english.get(_plain(product.id), {}) for product in sample.products]
    titles = [product.title for product in sample.products]
    other = [
        (one["label"] + " ", row)
        for row, one in enumerate(named)
        if one and set(tokenise(one["label"])) != set(tokenise(titles[row]))
    ]
    return {
        "another name": other,
        "keywords": ask_keywords(titles, [one.get("tags", ()) for one in named]),
        "two words": ask_two_words(titles),
    }


def find_rank(scores: Scores, row: int) -> float:
    """Return how many products are before one, half of those with the same score."""
    return float((scores > scores[row]).sum() + ((scores == scores[row]).sum() - 1) / 2)


def time_work(work: Callable[[], object]) -> float:
    """Return the seconds of a processor that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _plain(code: str) -> str:
    return "-".join(part for part in Path(code).stem.split("-") if part != "FE0F")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    cost = commands.add_parser("cost")
    cost.add_argument("--count", type=int, default=100_000)
    quality = commands.add_parser("quality")
    quality.add_argument("store")
    quality.add_argument("--folder", type=Path, default=Path("build/emojibase"))
    for command in (cost, quality):
        add_output(command)
    options = parser.parse_args()
    if options.command == "cost":
        figures = measure_cost(options.count)
        shown = cost_table(figures)
    else:
        figures = measure_quality(options.store, fetch(options.folder))
        shown = quality_table(figures)
    sys.stdout.write(f"{shown}\n")
    if options.output:
        write_result(options.output, figures)


if __name__ == "__main__":
    main()
