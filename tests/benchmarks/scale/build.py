"""Build, refresh and collect, by the jobs of a run, each in a process of its own that is watched."""

from __future__ import annotations

import multiprocessing
import pickle
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lookalike.data.embeddings import Embeddings
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.gc import Retention, collect
from lookalike.data.snapshots.manifest import CatalogueSection, EncoderSection, Manifest, ShardSection
from lookalike.data.snapshots.publishing import publish
from lookalike.data.stores import open_store
from lookalike.tasks import delta
from lookalike.tasks.build import jobs, planner, texts
from lookalike.tasks.build.jobs import Measurement, SampleQueries, Shard, Source, TrainedParts
from lookalike.tasks.build.planner import Kind
from lookalike.tasks.build.texts import BuiltTexts, TextChoice
from lookalike.tasks.draft import describe_space, describe_words
from lookalike.tasks.encoders.texts.content import DEFAULT_FIELDS
from lookalike.tasks.encoders.texts.stored import load_text_encoder, store_text_encoder
from lookalike.tasks.resolve import Changes, ResolvedDelta
from tests.benchmarks.index_vectors import Clusters
from tests.benchmarks.scale import catalogue as made

TARGET = 0.95
T = TypeVar("T")
Figures = dict[str, Any]


class Builder:
    """Does each step in a process of its own, and notes what it took.

    What the steps of a build return is kept in a folder until its snapshot is published: a build that was interrupted
    goes on where it stopped.
    """

    def __init__(
        self,
        store: str,
        threads: int,
        *,
        kept: Path,
        words: bool,
        kind: Kind | None,
        on_disk: bool = False,
        text_encoder: str | None = None,
    ) -> None:
        self.store = store
        self.figures: Figures = {}
        self._kept = kept
        self._threads = threads
        self._words = words
        self._kind = kind
        self._on_disk = on_disk
        self._text_encoder = text_encoder

    def build(self, count: int) -> Manifest:
        """Make a catalogue and publish its first snapshot."""
        manifest = self._build(count)
        shutil.rmtree(self._kept)
        return manifest

    def _build(self, count: int) -> Manifest:
        with tempfile.TemporaryDirectory(prefix="lookalike-scale-") as folder:
            encoder, catalogue = self._keep("make", _make, self.store, count, Path(folder))
        plan = self._keep("plan", _plan, self.store, catalogue, count, encoder, self._kind, self._threads)
        plan = replace(plan, on_disk=plan.on_disk or self._on_disk)
        source = Source(self.store, catalogue, encoder, plan, self._words)
        trained = self._keep("train", jobs.train_index, source, threads=self._threads)
        queries = self._keep("sample", jobs.sample_queries, source, trained)
        shards = [self._build_shard(source, number, queries, trained) for number in range(plan.shards)]
        measured = self._keep(
            "evaluate", jobs.evaluate_index, self.store, shards, plan.dimension, queries, TARGET, threads=self._threads
        )
        self.figures |= {"key": plan.key, "shards": plan.shards, "recall_at_10": measured.recall}
        self.figures |= {"query_ms": 1000 * measured.seconds, "parameters": str(measured.parameters)}
        space = describe_space(encoder, plan, trained, measured, None)
        sections = [shard.section for shard in shards]
        titles = None
        if self._text_encoder:
            titles = self._keep("texts", _build_texts, self.store, self._text_encoder, sections, self._threads)
        return self._publish(catalogue, space, sections, count, measured, None, titles)

    def refresh(self, parent: Manifest, count: int) -> Manifest:
        """Publish a snapshot in which some products are new, and half as many changed."""
        sections, measured = self._step("refresh", _refresh, self.store, parent, count)
        products = sum(section.alive for section in sections)
        titles = BuiltTexts.of_refresh(parent, sections)  # those of the delta are left out: pictures speak for it
        return self._publish(f"{parent.catalogue.id}r", parent.image, sections, products, measured, parent, titles)

    def collect(self) -> None:
        """Remove all but the newest snapshot."""
        self._step("gc", _collect, self.store)

    def _build_shard(self, source: Source, number: int, queries: SampleQueries, trained: TrainedParts) -> Shard:
        shard: Shard | None = self._keep(
            "build", jobs.build_shard, source, number, queries, trained, threads=self._threads, part=number
        )
        if shard is None:
            raise SystemExit(f"shard {number} has no products: ask for more")
        return shard

    def _publish(
        self,
        catalogue: str,
        space: Any,
        shards: list[ShardSection],
        count: int,
        measured: Measurement,
        parent: Manifest | None,
        titles: BuiltTexts | None,
    ) -> Manifest:
        manifest = Manifest.of(
            *(CatalogueSection(id=catalogue, uri="made", products=count), space, titles.shards if titles else shards),
            created_at=datetime.now(UTC),
            code_version="0",
            run="scale",
            parent=parent.id if parent else None,
            quality={"recall_at_10": measured.recall},
            words=describe_words(wanted=self._words),
            text=titles.space if titles else None,
        )
        channel = Channel(open_store(self.store))
        publish(channel, manifest, after=channel.latest(), reason="a benchmark")
        return manifest

    def _keep(self, name: str, function: Callable[..., T], *arguments: Any, part: int = 0, **named: Any) -> T:
        """Do a step of a build, or take what it returned before this build was interrupted."""
        file = self._kept / f"{name}-{part}.pickle"
        if file.exists():
            found: T
            found, self.figures = pickle.loads(file.read_bytes())
            return found
        found = self._step(name, function, *arguments, **named)
        self._kept.mkdir(parents=True, exist_ok=True)
        half = file.with_suffix(".half")
        half.write_bytes(pickle.dumps((found, self.figures)))
        half.replace(file)
        return found

    def _step(self, name: str, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a function in another process; of steps with one name, note the sum of times and the highest peak."""
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found, seconds, processor, peak = pool.submit(_watch, function, arguments, named).result()
        before = self.figures.get(name, {"seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0})
        self.figures[name] = {
            "seconds": round(before["seconds"] + seconds, 1),
            "cpu_seconds": round(before["cpu_seconds"] + processor, 1),
            "peak_bytes": max(before["peak_bytes"], peak),
        }
        return found


def _watch(
    function: Callable[..., T], arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[T, float, float, int]:
    began, processor = time.perf_counter(), time.process_time()
    found = function(*arguments, **named)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found, time.perf_counter() - began, time.process_time() - processor, peak


def _build_texts(store: str, encoder: str, shards: list[ShardSection], threads: int) -> BuiltTexts | None:
    choice = TextChoice(store_text_encoder(open_store(store), encoder), DEFAULT_FIELDS)
    made.store_titles(open_store(store), load_text_encoder(store, choice.encoder, threads), shards)
    plan = texts.plan_texts(store, choice, shards, None, threads=threads)
    if plan is None:
        return None
    parts = [texts.build_text_part(store, choice, plan, shard, threads=threads) for shard in shards]
    built = texts.with_text_parts(shards, parts)
    measured = texts.evaluate_texts(store, choice, built, TARGET, threads=threads)
    return BuiltTexts(texts.describe_text_space(choice, plan, measured), built, measured)


def _make(store: str, count: int, folder: Path) -> tuple[EncoderSection, str]:
    opened = open_store(store)
    encoder = made.store_encoder(opened, folder)
    return encoder, made.store_catalogue(opened, encoder, count, folder)


def _plan(
    store: str, catalogue: str, count: int, encoder: EncoderSection, kind: Kind | None, threads: int
) -> planner.Plan:
    """Plan as a run does, or for the kind of index that is asked for; vectors are indexed as they are."""

    def measure(_: int | None) -> Sequence[planner.OperatingPoint]:
        return jobs.measure_operating_points(store, catalogue, count, count, encoder, None, TARGET, threads=threads)

    wish = planner.Wish(TARGET)
    measured = None if kind else measure
    plan = planner.plan(
        count, encoder.dimension, encoder.fingerprint, shards=None, parent=None, wish=wish, measure=measured
    )
    key = planner.make_index_key(kind, count, count, encoder.dimension) if kind else plan.key
    return replace(plan, key=key, project=False)


def _refresh(store: str, parent: Manifest, count: int) -> tuple[list[ShardSection], Measurement]:
    opened, encoder = open_store(store), parent.encoder
    hashes = made.make_hashes(count, 10**6, 10**6 + 1)
    vectors, looks = Clusters(made.DIMENSION).draw_labelled(count, seed=10**6)
    Embeddings(opened, encoder.fingerprint).write([one.tobytes() for one in hashes], vectors)
    products = made.make_products(10**8 + np.arange(count), hashes, looks)
    dead = np.arange(count // 2, dtype=np.int64)
    resolved = ResolvedDelta(products, dead, Changes(), count, 0)
    return delta.build(opened, store, encoder, parent, resolved)


def _collect(store: str) -> None:
    collect(open_store(store), Retention(entries=1, grace=timedelta(0)))
