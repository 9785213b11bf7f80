"""Databases that `tests.benchmarks.index` compares with: two servers, and the small engine that one of them has.

Clients count what they do, too, as who asks a database must have one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.benchmarks.index_system import BATCH, Ids, K, System, Vectors

M, EF_CONSTRUCTION = 16, 100
INSERTED = 4096
"""Vectors in a message: Milvus takes 64 MB."""
SETTINGS = f"HNSW, M {M}, ef_construction {EF_CONSTRUCTION}, float32"


def _batches(vectors: Vectors, size: int) -> Iterator[tuple[range, Vectors]]:
    for start in range(0, len(vectors), size):
        some = np.ascontiguousarray(vectors[start : start + size])
        yield range(start, start + len(some)), some


class Milvus(System):
    """The server as PyPI has it, started in the system's folder. All vectors lie in sealed segments when it indexes."""

    def __init__(self) -> None:
        self._server: Any = None
        self._pymilvus: Any = None

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        self._start(folder)
        db = self._pymilvus
        fields = [
            db.FieldSchema("id", db.DataType.INT64, is_primary=True),
            db.FieldSchema("vector", db.DataType.FLOAT_VECTOR, dim=vectors.shape[1]),
        ]
        table = db.Collection("vectors", db.CollectionSchema(fields))
        for ids, some in _batches(vectors, INSERTED):
            table.insert([list(ids), some])
        table.flush()
        chosen = {"M": M, "efConstruction": EF_CONSTRUCTION}
        table.create_index("vector", {"index_type": "HNSW", "metric_type": "IP", "params": chosen})
        db.utility.wait_for_index_building_complete("vectors")
        return {"settings": SETTINGS}

    def open(self, folder: Path) -> None:
        self._start(folder)
        self._table = self._pymilvus.Collection("vectors")
        self._table.load()

    def set_effort(self, effort: int) -> None:
        self._effort = max(effort, K)

    def set_threads(self, threads: int) -> None:
        """Let the server have so many cores; the client has the others."""
        for process in self.processes():
            for thread in process.threads():
                os.sched_setaffinity(thread.id, range(threads))

    def search(self, queries: Vectors) -> Ids:
        asked = {"metric_type": "IP", "params": {"ef": self._effort}}
        found = self._table.search(queries, "vector", asked, K, consistency_level="Eventually")
        return np.array([hits.ids for hits in found], np.int64)

    def processes(self) -> list[psutil.Process]:
        return [] if self._server is None else psutil.Process().children(recursive=True)

    def close(self) -> None:
        self._server.stop()

    def _start(self, folder: Path) -> None:
        self._pymilvus = importlib.import_module("pymilvus")
        self._server = importlib.import_module("milvus").MilvusServer()
        self._server.set_base_dir(str(folder / "data"))
        self._server.start()
        self._pymilvus.connections.connect(host="127.0.0.1", port=self._server.listen_port)


class MilvusLite(System):
    """Milvus's own engine for one process, in Python over FAISS."""

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        db = importlib.import_module("pymilvus")
        client = db.MilvusClient(str(folder / "vectors.db"))
        schema, index = client.create_schema(), client.prepare_index_params()
        schema.add_field("id", db.DataType.INT64, is_primary=True)
        schema.add_field("vector", db.DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        chosen = {"M": M, "efConstruction": EF_CONSTRUCTION}
        index.add_index("vector", index_type="HNSW", metric_type="IP", params=chosen)
        client.create_collection("vectors", schema=schema)
        for ids, some in _batches(vectors, INSERTED):
            client.insert("vectors", [{"id": id_, "vector": one} for id_, one in zip(ids, some, strict=True)])
        client.flush("vectors")
        client.create_index("vectors", index)
        client.load_collection("vectors")
        client.close()
        return {"settings": SETTINGS}

    def open(self, folder: Path) -> None:
        self._client = importlib.import_module("pymilvus").MilvusClient(str(folder / "vectors.db"))
        self._client.load_collection("vectors")

    def set_effort(self, effort: int) -> None:
        self._effort = max(effort, K)

    def set_threads(self, threads: int) -> None:
        """Let all of this process, client and engine, have so many cores."""
        for thread in psutil.Process().threads():
            os.sched_setaffinity(thread.id, range(threads))

    def search(self, queries: Vectors) -> Ids:
        asked = {"metric_type": "IP", "params": {"ef": self._effort}}
        found = self._client.search("vectors", data=list(queries), limit=K, search_params=asked)
        return np.array([[hit["id"] for hit in hits] for hits in found], np.int64)


class Pgvector(System):
    """The PostgreSQL that `PGVECTOR` names, such as postgresql://postgres@127.0.0.1:5432/postgres.

    No other one may run on this machine: its processes are found by their name.
    """

    effort_name = "ef_search"

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        db = self._connect()
        db.execute("DROP TABLE IF EXISTS vectors")
        db.execute(f"CREATE TABLE vectors (id bigint PRIMARY KEY, vector vector({vectors.shape[1]}))")
        copy = "COPY vectors FROM STDIN WITH (FORMAT BINARY)"
        with db.cursor() as cursor, cursor.copy(copy) as rows:
            rows.set_types(["int8", "vector"])
            for ids, some in _batches(vectors, BATCH):
                for row in zip(ids, some, strict=True):
                    rows.write_row(row)
        db.execute("SET maintenance_work_mem = '2GB'")
        db.execute(f"SET max_parallel_maintenance_workers = {threads - 1}")
        chosen = f"m = {M}, ef_construction = {EF_CONSTRUCTION}"
        db.execute(f"CREATE INDEX ON vectors USING hnsw (vector vector_ip_ops) WITH ({chosen})")
        db.execute("VACUUM ANALYZE vectors")
        size = db.execute("SELECT pg_total_relation_size('vectors')").fetchone()[0]
        db.close()
        return {"settings": SETTINGS, "file_bytes": size}

    def open(self, folder: Path) -> None:
        self._databases = [self._connect() for _ in range(os.cpu_count() or 1)]

    def set_effort(self, effort: int) -> None:
        for db in self._databases:
            db.execute(f"SET hnsw.ef_search = {min(max(effort, K), 1000)}")

    def set_threads(self, threads: int) -> None:
        """Ask over so many connections: each has a process of the server."""
        self._used = self._databases[:threads]

    def search(self, queries: Vectors) -> Ids:
        if len(self._used) == 1 or len(queries) == 1:
            return self._ask(self._used[0], queries)
        with ThreadPoolExecutor(len(self._used)) as pool:
            shares = np.array_split(queries, len(self._used))
            return np.concatenate(list(pool.map(self._ask, self._used, shares)))

    def processes(self) -> list[psutil.Process]:
        def is_server(process: psutil.Process | None) -> bool:
            return process is not None and process.name() == "postgres"

        servers = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "postgres"]
        first = next((one for one in servers if not is_server(one.parent())), None)
        return [] if first is None else [first, *first.children()]

    @staticmethod
    def _ask(db: Any, queries: Vectors) -> Ids:
        wanted = f"SELECT id FROM vectors ORDER BY vector <#> %s LIMIT {K}"
        found = [[row[0] for row in db.execute(wanted, (query,), prepare=True, binary=True)] for query in queries]
        return np.array([ids + [-1] * (K - len(ids)) for ids in found], np.int64)

    @staticmethod
    def _connect() -> Any:
        psycopg, pgvector = importlib.import_module("psycopg"), importlib.import_module("pgvector.psycopg")
        db = psycopg.connect(os.environ["PGVECTOR"], autocommit=True)
        db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        pgvector.register_vector(db)
        return db
