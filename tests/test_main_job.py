"""The main job on real servers: pictures and snapshots in S3, Prefect, two Dask workers, the HTTP server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.catalogue.rejects import read_rejects
from lookalike.data.embeddings import Embeddings, hash_array
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.data.stores.s3 import file_system
from lookalike.tasks.search.searcher import Searcher
from tests.support import processes
from tests.support.pictures import drawing, write_catalogue, write_odd_pictures
from tests.support.seaweedfs import SeaweedFS
from tests.support.servers import BIN, ROOT, dask_cluster

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(400)]

PRODUCTS = 60


@dataclass
class Job:
    """A catalogue in S3, where its snapshots go, and the reports of the reindexes so far."""

    pictures: str
    store: str
    local: Path
    env: dict[str, str]
    rejected: dict[str, str]
    used: set[str]
    reports: list[dict[str, Any]] = field(default_factory=list)

    def reindex(self) -> dict[str, Any]:
        """Run `lookalike reindex` as a person would."""
        command = [str(BIN / "lookalike"), "reindex", self.pictures, "--store", self.store, "--shards", "3"]
        done = subprocess.run(
            [*command, "--output", "json"],
            check=False,
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        report: dict[str, Any] = json.loads(done.stdout)
        self.reports.append(report)
        return report


@pytest.fixture(scope="module")
def job(seaweedfs: SeaweedFS, prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("job")
    local = write_catalogue(folder / "pictures", PRODUCTS)
    rejected, used = write_odd_pictures(local / "odd ü")
    prefix = f"s3://lookalike-tests/{folder.name}-{os.getpid()}"
    file_system().put(f"{local}/", f"{prefix}/pictures/", recursive=True)
    environment = {**seaweedfs.environment, "PREFECT_API_URL": prefect_api}
    with dask_cluster(folder, env=environment) as address:
        job = Job(
            pictures=f"{prefix}/pictures",
            store=f"{prefix}/store",
            local=local,
            env={**os.environ, **environment, "DASK_SCHEDULER_ADDRESS": address},
            rejected=rejected,
            used=used,
        )
        job.reindex()
        yield job


@pytest.fixture(scope="module")
def server(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = {**job.env, "LOOKALIKE_STORE": job.store}
    with processes.server(tmp_path_factory.mktemp("server"), **settings) as running:
        running.wait(lambda state: state["ready"])
        with httpx.Client(base_url=running.url, timeout=30) as client:
            yield client


def searched(client: httpx.Client, picture: bytes, k: int = 5) -> dict[str, Any]:
    reply = client.post("/v1/search", files={"image": ("picture", picture)}, data={"k": str(k)})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_every_picture_is_used_or_rejected_with_its_reason(job: Job) -> None:
    report = job.reports[0]
    assert report["published"]
    assert report["products"] == report["embedded"] == PRODUCTS + len(job.used)
    assert report["rejected"] == len(job.rejected)
    assert report["shards"] == 3
    assert report["recall_at_10"] >= 0.99
    rows = read_rejects(open_store(job.store), report["rejects"])
    assert {row.id: row.reason for row in rows} == {f"odd ü/{name}": why for name, why in job.rejected.items()}
    products = read_catalogue_range(open_store(job.store), manifest_of(job).catalogue.id)
    ids = set(products["id"].to_pylist())
    assert {f"odd ü/{name}" for name in job.used} <= ids


def test_the_snapshot_is_whole(job: Job) -> None:
    manifest = manifest_of(job)
    assert verify(open_store(job.store), manifest) == []
    assert sum(shard.count for shard in manifest.shards) == manifest.catalogue.products


def test_prefect_shows_the_run_and_its_figures(job: Job) -> None:
    api = job.env["PREFECT_API_URL"]
    every = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=30).json()
    runs = [run for run in every if run["parameters"].get("catalogue") == job.pictures]
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    ours = {"flow_runs": {"id": {"any_": [run["id"] for run in runs]}}}
    tasks = httpx.post(f"{api}/task_runs/filter", json=ours, timeout=30).json()
    stages = Counter(task["name"].rsplit("-", 1)[0] for task in tasks)
    assert {"scan", "diff", "embed", "plan", "train", "build", "evaluate", "gate", "publish", "report"} <= set(stages)
    artifacts = httpx.post(f"{api}/artifacts/filter", json=ours, timeout=30).json()
    figures = [artifact["description"] for artifact in artifacts if artifact["key"] == "figures-current"]
    assert any(f"`{job.reports[0]['snapshot']}`" in figure for figure in figures)
    assert {
        "figures-current",
        "rejects-current",
        "contact-sheet-current",
        "progress-scan",
        "progress-embed",
        "progress-build",
    } <= {artifact["key"] for artifact in artifacts}


def test_a_picture_finds_itself_first(job: Job, server: httpx.Client) -> None:
    for path in [*sorted(job.local.glob("*s/*.png"))[::7], job.local / "odd ü" / "schöne Größe #1?.png"]:
        answer = searched(server, path.read_bytes())
        best = answer["hits"][0]
        assert best["id"] == path.relative_to(job.local).as_posix()
        assert best["score"] > 0.999
        assert server.get(best["image_url"]).content == path.read_bytes()


def test_batch_and_query_give_the_same_vector(job: Job, tmp_path: Path) -> None:
    store, manifest = open_store(job.store), manifest_of(job)
    searcher = Searcher.open(store, manifest, BlobCache(tmp_path), threads=1)
    hashes, stored = Embeddings(store, manifest.encoder.fingerprint).read()
    products = read_catalogue_range(store, manifest.catalogue.id)
    batch = dict(zip((bytes(value) for value in hashes), stored.astype(np.float32), strict=True))
    for product, image_hash in zip(products["id"].to_pylist(), hash_array(products["image_hash"]), strict=True):
        query = searcher.embed((job.local / product).read_bytes())
        vector = batch[bytes(image_hash)]
        assert float(query @ vector / np.linalg.norm(vector)) >= 0.9999


def test_an_unchanged_catalogue_embeds_nothing_and_publishes_nothing(job: Job) -> None:
    report = job.reindex()
    assert report["embedded"] == 0
    assert report["reused"] == PRODUCTS + len(job.used)
    assert report["unchanged"]
    assert not report["published"]
    assert report["snapshot"] == job.reports[0]["snapshot"]


def test_a_new_product_is_found_by_the_running_server_and_no_query_fails(job: Job, server: httpx.Client) -> None:
    before = server.get("/v1/snapshots/current").json()["id"]
    query = (job.local / "shoes" / "0000.png").read_bytes()
    path = job.local / "hats" / "new arrival.png"
    drawing(4242).save(path)
    file_system().put_file(str(path), f"{job.pictures}/hats/{path.name}")
    with QueryLoad(str(server.base_url), query) as load:
        report = job.reindex()
        published = Channel(open_store(job.store)).current().moved_at.timestamp()
        while server.get("/v1/products/hats/new arrival.png").status_code != 200:
            assert time.time() - published < 10, "the server does not follow its channel"
            time.sleep(0.1)
        assert searched(server, path.read_bytes())["hits"][0]["id"] == "hats/new arrival.png"
        load.go_on(20)
    assert report["embedded"] == 1
    assert load.failures == []
    assert set(load.snapshots) == {before, report["snapshot"]}


def manifest_of(job: Job) -> Any:
    """Return the manifest of the first report's snapshot."""
    return read_manifest(open_store(job.store), job.reports[0]["snapshot"])


class QueryLoad:
    """Twenty queries a second at most, in a thread; counts the snapshots that answered, and keeps every failure."""

    def __init__(self, url: str, picture: bytes) -> None:
        self._url = url
        self._picture = picture
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.snapshots: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> QueryLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def go_on(self, queries: int) -> None:
        """Wait until so many more queries were answered."""
        goal = self.snapshots.total() + queries
        while self.snapshots.total() < goal and not self.failures:
            time.sleep(0.05)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.wait(0.05):
                try:
                    self.snapshots[searched(client, self._picture)["snapshot"]] += 1
                except (AssertionError, httpx.HTTPError) as error:
                    self.failures.append(repr(error))
                    return
