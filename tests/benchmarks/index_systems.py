"""The systems that `tests.benchmarks.index` compares: each is built and searched in a process of its own.

    python tests/benchmarks/index_systems.py build|query|filters SYSTEM FOLDER --threads N

This file imports nothing of Lookalike but in the class that measures it, so that the others run in an environment of
their own. Every system gets the same mapped vectors, finds its least effort by the same ladder, and is measured alike.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.index_servers import Milvus, MilvusLite, Pgvector
from tests.benchmarks.index_system import BATCH, Ids, K, Memory, System, Vectors, server_bytes, server_seconds

if TYPE_CHECKING:
    from lookalike.tasks.build.planner import Kind, OperatingPoint

TARGET = 0.95
TUNING = 1000  # the first queries are for tuning, the others for measuring
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)  # of the rows that match a filter
FILTERED = 1000  # queries for each: of 200 recall is known to 0.008 only
SECONDS = 5.0  # how long each rate is measured


class Hnswlib(System):
    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        hnswlib = importlib.import_module("hnswlib")
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=16, ef_construction=100)
        for start in range(0, len(vectors), BATCH):
            some = vectors[start : start + BATCH]
            index.add_items(some, np.arange(start, start + len(some)), num_threads=threads)
        index.save_index(str(folder / "index"))
        return {"settings": "M 16, ef_construction 100, float32"}

    def open(self, folder: Path) -> None:
        hnswlib = importlib.import_module("hnswlib")
        self._index = hnswlib.Index(space="ip", dim=json.loads((folder.parent / "data.json").read_text())["dimension"])
        self._index.load_index(str(folder / "index"))

    def set_effort(self, effort: int) -> None:
        self._index.set_ef(max(effort, K))

    def set_threads(self, threads: int) -> None:
        self._threads = threads

    def search(self, queries: Vectors) -> Ids:
        found: Ids = self._index.knn_query(queries, k=K, num_threads=self._threads)[0].astype(np.int64)
        return found


class Usearch(System):
    dtype = "bf16"

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        index = self._new(vectors.shape[1])
        for start in range(0, len(vectors), BATCH):
            some = vectors[start : start + BATCH]
            index.add(np.arange(start, start + len(some), dtype=np.uint64), some, threads=threads)
        index.save(str(folder / "index"))
        return {"settings": f"connectivity 16, expansion_add 100, {self.dtype}"}

    def open(self, folder: Path) -> None:
        self._index = self._new(json.loads((folder.parent / "data.json").read_text())["dimension"])
        self._index.load(str(folder / "index"))

    def set_effort(self, effort: int) -> None:
        self._index.expansion_search = max(effort, K)

    def set_threads(self, threads: int) -> None:
        self._threads = threads

    def search(self, queries: Vectors) -> Ids:
        found = self._index.search(queries, K, threads=self._threads)
        keys: Ids = np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)
        return keys

    def _new(self, dimension: int) -> Any:
        index = importlib.import_module("usearch.index")
        return index.Index(ndim=dimension, metric="ip", dtype=self.dtype, connectivity=16, expansion_add=100)


class UsearchInt8(Usearch):
    dtype = "i8"


class Lance(System):
    efforts = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    effort_name = "nprobes"

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        lancedb, pa = importlib.import_module("lancedb"), importlib.import_module("pyarrow")

        def batches() -> Iterator[Any]:
            for start in range(0, len(vectors), BATCH):
                some = np.ascontiguousarray(vectors[start : start + BATCH])
                column = pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), some.shape[1])
                ids = pa.array(np.arange(start, start + len(some)))
                yield pa.record_batch([ids, column], names=["id", "vector"])

        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
        table = lancedb.connect(str(folder / "lance")).create_table("t", batches(), schema=schema, mode="overwrite")
        lists = 2 ** round(np.log2(np.sqrt(len(vectors))))
        table.create_index(metric="dot", index_type="IVF_PQ", num_partitions=lists, num_sub_vectors=64)
        return {"settings": f"IVF_PQ, {lists} partitions, 64 sub-vectors, refine_factor 10"}

    def open(self, folder: Path) -> None:
        self._table = importlib.import_module("lancedb").connect(str(folder / "lance")).open_table("t")

    def set_effort(self, effort: int) -> None:
        self._effort = effort

    def set_threads(self, threads: int) -> None:
        self._threads = threads

    def search(self, queries: Vectors) -> Ids:
        if self._threads == 1 or len(queries) == 1:
            return np.stack([self._one(query) for query in queries])
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._threads) as pool:
            return np.stack(list(pool.map(self._one, queries)))

    def _one(self, query: Vectors) -> Ids:
        search = self._table.search(query).distance_type("dot").nprobes(self._effort).refine_factor(10)
        found = search.select(["id", "_distance"]).limit(K).to_arrow()["id"].to_numpy()
        ids: Ids = np.pad(found, (0, K - len(found)), constant_values=-1)
        return ids


class Autofaiss(System):
    """What autofaiss's rules choose, built by FAISS itself."""

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        faiss, key = importlib.import_module("faiss"), self._key(vectors)
        faiss.omp_set_num_threads(threads)
        index = faiss.index_factory(vectors.shape[1], key, faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(len(vectors), min(len(vectors), 200_000), replace=False)
        index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
        for start in range(0, len(vectors), BATCH):
            index.add(np.ascontiguousarray(vectors[start : start + BATCH]))
        faiss.write_index(index, str(folder / "index"))
        return {"settings": key}

    def _key(self, vectors: Vectors) -> str:
        rules = importlib.import_module("autofaiss.external.optimize")
        keys: list[str] = rules.get_optimal_index_keys_v2(
            len(vectors), vectors.shape[1], self.memory, should_be_memory_mappable=False
        )
        return keys[0]

    memory = "16GB"

    def open(self, folder: Path) -> None:
        self._faiss = importlib.import_module("faiss")
        self._index = self._faiss.read_index(str(folder / "index"))
        self._space = self._faiss.ParameterSpace()
        self._name = (
            "efSearch" if "HNSW" in json.loads((folder / "build.json").read_text())["settings"][:4] else "nprobe"
        )

    def set_effort(self, effort: int) -> None:
        self._space.set_index_parameter(self._index, self._name, effort)

    def set_threads(self, threads: int) -> None:
        self._faiss.omp_set_num_threads(threads)

    def search(self, queries: Vectors) -> Ids:
        found: Ids = self._index.search(queries, K)[1]
        return found


class AutofaissSmall(Autofaiss):
    """The same, where it may use as much memory as Lookalike takes."""

    memory = "330MB"


class Lookalike(System):
    """The planner's choice for these vectors, in shards as a reindex builds them."""

    efforts = (0,)  # tuned as a reindex does it
    effort_name = "tuned"
    kind: Kind | None = None  # another one than the planner's choice

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        from lookalike.tasks.build.measure import QUERIES, SAMPLE, measure
        from lookalike.tasks.build.planner import make_index_key, plan
        from lookalike.tasks.build.shard import build_index
        from lookalike.tasks.build.train import choose_sample_size, train

        faiss = importlib.import_module("faiss")
        started = time.perf_counter()

        def points(_: int | None) -> Sequence[OperatingPoint]:
            drawn = np.random.default_rng(0).permutation(len(vectors))[: SAMPLE + QUERIES]
            sample, queries = vectors[np.sort(drawn[:SAMPLE])], vectors[np.sort(drawn[SAMPLE:])]
            batches = (vectors[start : start + BATCH] for start in range(0, len(vectors), BATCH))
            return measure(sample, queries, batches, len(vectors), TARGET, threads=threads).points

        chosen = plan(
            len(vectors), vectors.shape[1], "f", shards=None, parent=None, measure=None if self.kind else points
        )
        planned = time.perf_counter() - started
        count, dimension = vectors.shape
        key = make_index_key(self.kind, count, count, dimension) if self.kind else chosen.key
        chosen = replace(chosen, key=key, dimension=dimension, project=False)
        learnt = np.random.default_rng(1).choice(
            len(vectors), min(len(vectors), choose_sample_size(chosen)), replace=False
        )
        parts = (vectors[rows].astype(np.float16) for rows in np.array_split(np.sort(learnt), 1 + len(learnt) // BATCH))
        _, trained = train(parts, chosen, threads=threads)
        edges = np.linspace(0, len(vectors), chosen.shards + 1, dtype=int)
        for number, (start, stop) in enumerate(pairwise(edges)):
            batches = (vectors[row : min(row + BATCH, stop)].astype(np.float16) for row in range(start, stop, BATCH))
            index = build_index(batches, int(stop - start), chosen, None, trained, threads=threads)
            faiss.write_index(index, str(folder / f"{number}.faiss"))
            del index
        (folder / "plan.txt").write_text(chosen.reason)
        return {"settings": f"{chosen.key}, {chosen.shards} shards", "planning_seconds": planned}

    def open(self, folder: Path) -> None:
        from lookalike.tasks.search.index import ShardedIndex

        data = json.loads((folder.parent / "data.json").read_text())
        files = sorted(folder.glob("*.faiss"))
        edges = np.linspace(0, data["count"], len(files) + 1, dtype=int)
        self.index = ShardedIndex.open(files, np.diff(edges).tolist(), data["dimension"], nprobe=None)
        self.index.warm_up()

    def set_effort(self, effort: int) -> None:
        pass

    def tune(self, queries: Vectors, scores: Vectors, rows: Ids) -> None:
        from lookalike.tasks.build.evaluate import Examination
        from lookalike.tasks.search.neighbours import Neighbours

        Examination(queries, Neighbours(scores, rows)).tune(self.index, TARGET)

    def set_threads(self, threads: int) -> None:
        self.index.threads = threads

    def search(self, queries: Vectors) -> Ids:
        return self.index.search(queries, K).rows


class LookalikeSq8(Lookalike):
    kind = "IVF SQ8"


class LookalikeShort(Lookalike):
    kind = "IVF SQ8 short"


class LookalikePq(Lookalike):
    kind = "IVF PQ"


class LookalikeRabitq(Lookalike):
    kind = "IVF RaBitQ"


SYSTEMS: dict[str, Callable[[], System]] = {
    "lookalike": Lookalike,
    "lookalike-pq": LookalikePq,
    "lookalike-rabitq": LookalikeRabitq,
    "lookalike-short": LookalikeShort,
    "lookalike-sq8": LookalikeSq8,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "usearch-i8": UsearchInt8,
    "lancedb": Lance,
    "autofaiss": Autofaiss,
    "autofaiss-small": AutofaissSmall,
    "milvus": Milvus,
    "milvus-lite": MilvusLite,
    "pgvector": Pgvector,
}


def build(name: str, folder: Path, threads: int) -> dict[str, Any]:
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    vectors: Vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    system = SYSTEMS[name]()
    computed = time.process_time() + server_seconds(system)
    memory, started = Memory(system), time.perf_counter()
    told = system.build(vectors, target, threads)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() + server_seconds(system) - computed
    peak = memory.stop()
    system.close()
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    report = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "file_bytes": size, **told}
    (target / "build.json").write_text(json.dumps(report, indent=2))
    return report


def query(name: str, folder: Path, threads: int) -> dict[str, Any]:
    queries: Vectors = np.load(folder / "queries.npy")
    rows: Ids = np.load(folder / "exact-rows.npy")
    scores: Vectors = np.load(folder / "exact-scores.npy")
    system = SYSTEMS[name]()
    gc.collect()
    before = Memory.now("RssAnon", "RssFile")
    system.open(folder / name)
    system.set_threads(threads)
    effort = tuned(system, queries[:TUNING], scores[:TUNING], rows[:TUNING])
    measured = queries[TUNING:]
    reached = recall(system.search(measured), rows[TUNING:])
    report = {
        "recall": reached,
        "effort": effort,
        "resident_bytes": Memory.now("RssAnon", "RssFile") + server_bytes(system) - before,
        "qps_all": rate(system, measured, threads),
        "qps_1": rate(system, measured, 1),
        **latencies(system, measured),
    }
    system.close()
    (folder / name / "query.json").write_text(json.dumps(report, indent=2))
    return report


def filters(name: str, folder: Path, threads: int) -> dict[str, Any]:
    """Recall@10 and latency of filters by how many rows match, of Lookalike alone: one query at a time, on one core."""
    system = SYSTEMS[name]()
    assert isinstance(system, Lookalike)
    system.open(folder / name)
    queries: Vectors = np.load(folder / "queries.npy")
    effort = tuned(
        system,
        queries[:TUNING],
        np.load(folder / "exact-scores.npy")[:TUNING],
        np.load(folder / "exact-rows.npy")[:TUNING],
    )
    vectors: Vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    asked, size = queries[TUNING : TUNING + FILTERED], len(vectors)
    reports = []
    for share in SHARES:
        allowed = np.random.default_rng(4).random(size) < share
        best = _exact_rows(vectors, np.flatnonzero(allowed), asked)
        found, times = [], []
        for one in asked:
            started = time.perf_counter()
            found.append(system.index.search(one[None], K, allowed=allowed).rows[0])
            times.append(1000 * (time.perf_counter() - started))
        reports.append(
            {
                "share": share,
                "recall": recall(np.stack(found), best),
                "p50_ms": float(np.percentile(times, 50)),
                "p99_ms": float(np.percentile(times, 99)),
            }
        )
    times = []
    for one in asked[:50]:
        started = time.perf_counter()
        system.index.search_exact(one[None], K)
        times.append(1000 * (time.perf_counter() - started))
    report = {"effort": effort, "exact_ms": float(np.percentile(times, 50)), "filters": reports}
    (folder / name / "filters.json").write_text(json.dumps(report, indent=2))
    return report


def _exact_rows(vectors: Vectors, rows: Ids, queries: Vectors) -> Ids:
    """Return the K nearest among some rows, by the vectors as they are."""
    faiss = importlib.import_module("faiss")
    best = faiss.ResultHeap(len(queries), K, keep_max=True)
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        scores, places = faiss.knn(queries, np.ascontiguousarray(vectors[some]), K, metric=faiss.METRIC_INNER_PRODUCT)
        best.add_result(scores, some[places])
    best.finalize()
    found: Ids = best.I
    return found


def tuned(system: System, queries: Vectors, scores: Vectors, rows: Ids) -> str:
    if isinstance(system, Lookalike):
        system.tune(queries, scores, rows)
        return str(system.index.parameters)
    for effort in system.efforts:
        system.set_effort(effort)
        if recall(system.search(queries), rows) >= TARGET:
            break
    return f"{system.effort_name} {effort}"


def recall(found: Ids, exact: Ids) -> float:
    return float((found[:, :K, None] == exact[:, None, :K]).any(axis=2).mean())


def rate(system: System, queries: Vectors, threads: int) -> float:
    """Queries a second, in batches, as fast as the system can."""
    system.set_threads(threads)
    system.search(queries[:100])
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < SECONDS:
        start = done % len(queries)
        done += len(system.search(queries[start : start + 500]))
    return done / passed


def latencies(system: System, queries: Vectors) -> dict[str, float]:
    """Milliseconds of one query at a time, on one core."""
    system.set_threads(1)
    times = []
    for one in queries:
        started = time.perf_counter()
        system.search(one[None])
        times.append(1000 * (time.perf_counter() - started))
    return {"p50_ms": float(np.percentile(times, 50)), "p99_ms": float(np.percentile(times, 99))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["build", "query", "filters"])
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    step = {"build": build, "query": query, "filters": filters}[arguments.step]
    print(json.dumps(step(arguments.system, arguments.folder, arguments.threads)))  # noqa: T201


if __name__ == "__main__":
    main()
