"""Metrics for Prometheus, right with one process and with several."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from lookalike.serving.telemetry import installed, version

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Set before this module is imported where several processes serve together."""

STAGES = ("fetch", "decode", "queue", "encode", "text_queue", "text_encode", "search", "facets", "hydrate", "thumbnail")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, *_SECONDS)
_SWAP_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)

disable_created_metrics()  # type: ignore[no-untyped-call] # twice the series for nothing that we ask


@dataclass(frozen=True, slots=True)
class BatchMetrics:
    """What is measured of the batches that one encoder takes; `queued` and `encoded` take seconds."""

    queue: Gauge
    released: Counter
    dropped: Counter
    batches: Histogram
    queued: Histogram
    encoded: Histogram


class Stopwatch:
    """Measures what is done meanwhile; what raises is not measured."""

    __slots__ = ("_histogram", "_start")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._histogram.observe(perf_counter() - self._start)


class Metrics:
    """All that one application measures, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests: dict[tuple[str, str, str, int], Histogram] = {}
        self.requests = Histogram(
            "lookalike_request_seconds",
            "Requests by gateway, route and status; of gRPC, the status is that of HTTP",
            ["gateway", "method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.streams = Gauge(
            "lookalike_streams",
            "Streams that are open",
            ["gateway"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.stream_ends = Counter(
            "lookalike_stream_ends_total",
            "Streams that ended: done, left (the client hung up), stopping (the server), slow_reader, idle, refused, "
            "broken (by the client), failed (here)",
            ["gateway", "reason"],
            registry=registry,
        )
        self.stages = Histogram(
            "lookalike_stage_seconds",
            "Stages: fetch (a URL), decode, queue, encode (a batch), text_queue, text_encode (a batch of texts), "
            "search (products included), facets, hydrate (the reply), thumbnail",
            ["stage"],
            buckets=_STAGE_SECONDS,
            registry=registry,
        )
        self.best_scores = Histogram(
            "lookalike_best_score",
            "Scores of the best hits of queries by picture or vector, first pages without min_score; -1 without a hit",
            buckets=_SCORES,
            registry=registry,
        )
        self.batches = Histogram(
            "lookalike_batch_size", "Pictures encoded together", buckets=_BATCHES, registry=registry
        )
        self.in_progress = _gauge("lookalike_queries_in_progress", "Queries accepted and not yet answered", registry)
        self.queue = _gauge("lookalike_queue_depth", "Decoded pictures that wait for the encoder", registry)
        self.oldest = Gauge(
            "lookalike_queue_oldest_seconds",
            "How long the picture has waited for the encoder that waits longest",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.released = Counter(
            "lookalike_batches_released_total",
            "Batches by why they went: full, waited (the oldest its time), idle (the encoder had nothing to do)",
            ["reason"],
            registry=registry,
        )
        self.vectors = Counter(
            "lookalike_query_vectors_total",
            "Vectors of query pictures: encoded, shared with the same picture in flight, cached",
            ["source"],
            registry=registry,
        )
        self.texts = Counter(
            "lookalike_query_texts_total",
            "Queries with a text by how it was understood: known (products have each word), guessed (a word was "
            "corrected or completed), partly (no product has one of the words), unknown (no product has any)",
            ["result"],
            registry=registry,
        )
        self.thumbnails = Counter(
            "lookalike_thumbnails_total",
            "Small copies of product pictures: made, or cached",
            ["source"],
            registry=registry,
        )
        self.fetches = Counter(
            "lookalike_fetches_total", "URLs of queries by how fetching them ended", ["result"], registry=registry
        )
        self.dropped = Counter(
            "lookalike_dropped_total", "Pictures dropped before encoding", ["reason"], registry=registry
        )
        self.picture_batches = BatchMetrics(
            self.queue,
            self.released,
            self.dropped,
            self.batches,
            self.stages.labels("queue"),
            self.stages.labels("encode"),
        )
        self.text_batches = BatchMetrics(
            _gauge("lookalike_text_queue_depth", "Texts that wait for the encoder of texts", registry),
            Counter(
                "lookalike_text_batches_released_total",
                "Batches of texts by why they went",
                ["reason"],
                registry=registry,
            ),
            Counter("lookalike_text_dropped_total", "Texts dropped before encoding", ["reason"], registry=registry),
            Histogram("lookalike_text_batch_size", "Texts encoded together", buckets=_BATCHES, registry=registry),
            self.stages.labels("text_queue"),
            self.stages.labels("text_encode"),
        )
        self.text_vectors = Counter(
            "lookalike_text_vectors_total",
            "Vectors of query texts: encoded, shared with the same text in flight, cached",
            ["source"],
            registry=registry,
        )
        self.shed = Counter("lookalike_overloaded_total", "Queries refused because too many wait", registry=registry)
        self.refused = Counter(
            "lookalike_refused_total", "Requests refused before their body was read", ["reason"], registry=registry
        )
        self.audit_suppressed = Counter(
            "lookalike_audit_suppressed_total", "Refusals too many to be audited one by one", registry=registry
        )
        self.keys = Gauge(
            "lookalike_keys", "API keys that are valid now", registry=registry, multiprocess_mode="livemin"
        )
        self.keys_expire = Gauge(
            "lookalike_keys_next_expiry_timestamp_seconds",
            "When the valid key that expires first does so; infinite where none does",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.keys_readable = Gauge(
            "lookalike_keys_readable",
            "1 where the last look at the keys worked; else those known before are used",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.issuer_reachable = Gauge(
            "lookalike_issuer_reachable",
            "1 if the OIDC issuer answered with its keys the last time; 0 if it did not, or if none is set",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.snapshot = Gauge(
            "lookalike_snapshot_info",
            "1 for the snapshot that is served",
            ["channel", "snapshot", "encoder"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.snapshot_created = Gauge(
            "lookalike_snapshot_created_timestamp_seconds",
            "When the snapshot that is served was made; time() minus this is its age",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.products = Gauge(
            "lookalike_snapshot_products", "Products served", registry=registry, multiprocess_mode="livemin"
        )
        self.held = Gauge(
            "lookalike_snapshots_held",
            "Snapshots in memory: the one that is served and those with queries to finish",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.ready = Gauge(
            "lookalike_ready", "1 where queries are answered", registry=registry, multiprocess_mode="livemin"
        )
        self.store_reachable = Gauge(
            "lookalike_store_reachable",
            "1 where the last look at the channel worked",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.swaps = Counter("lookalike_swaps_total", "Snapshots taken into service", registry=registry)
        self.swap_failures = Counter(
            "lookalike_swap_failures_total", "Snapshots that could not be opened", registry=registry
        )
        self.swap_seconds = Histogram(
            "lookalike_swap_seconds",
            "From seeing a new snapshot to serving it",
            buckets=_SWAP_SECONDS,
            registry=registry,
        )
        self.recall = Gauge(
            "lookalike_recall",
            "Share of the true nearest that searches found lately, by the probe in the background",
            ["k"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.recall_probes = Counter(
            "lookalike_recall_probes_total", "Searches that were compared with exact search", registry=registry
        )
        self.cpu = Counter("lookalike_cpu_seconds_total", "Processor time that all workers used", registry=registry)
        self.memory = _gauge("lookalike_memory_bytes", "Resident memory of all workers", registry)
        self.memory_limit = Gauge(
            "lookalike_memory_limit_bytes",
            "Memory that there is for all workers: of the container, or of the machine",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.cache_free = Gauge(
            "lookalike_cache_free_bytes",
            "Free space of the disk on which the cache is",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.build = Gauge(
            "lookalike_build_info",
            "1 for the release that runs, and what it runs on",
            ["version", "python", "faiss", "onnxruntime"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.build.labels(version(), platform.python_version(), installed("faiss-cpu"), installed("onnxruntime")).set(1)
        self._begin_at_zero()
        self._stages: dict[str, Histogram] = {name: self.stages.labels(name) for name in STAGES}
        if not _multiprocess_folder():
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)

    def _begin_at_zero(self) -> None:
        """Show each series that is known from the start: a rate cannot see a counter's first step out of nothing."""
        for counter, values in (
            (self.released, ("full", "waited", "idle")),
            (self.vectors, ("encoded", "shared", "cached")),
            (self.texts, ("known", "guessed", "partly", "unknown")),
            (self.thumbnails, ("made", "cached")),
            (self.dropped, ("cancelled", "expired")),
            (self.text_batches.released, ("full", "waited", "idle")),
            (self.text_batches.dropped, ("cancelled", "expired")),
            (self.text_vectors, ("encoded", "shared", "cached")),
        ):
            for value in values:
                counter.labels(value)

    def stage(self, name: str) -> Stopwatch:
        """Measure one stage of a query."""
        return Stopwatch(self._stages[name])

    def request(self, gateway: str, method: str, route: str, status: int) -> Histogram:
        """Return what measures requests with these labels. They are never a caller's to make, so there are few."""
        labels = (gateway, method, route, status)
        found = self._requests.get(labels)
        if found is None:
            found = self._requests[labels] = self.requests.labels(gateway, method, route, str(status))
        return found

    def serve(self, channel: str, snapshot: str, encoder: str) -> None:
        """Say which snapshot is served from now on."""
        self.snapshot.labels(channel, snapshot, encoder).set(1)

    def retire(self, channel: str, snapshot: str, encoder: str) -> None:
        """Say that a snapshot is no longer served."""
        self.snapshot.labels(channel, snapshot, encoder).set(0)  # files of other processes cannot forget a label
        if not _multiprocess_folder():
            self.snapshot.remove(channel, snapshot, encoder)

    def render(self) -> bytes:
        """Return all metrics in the text format, those of the other processes included."""
        return generate_latest(self._everyone())

    def render_openmetrics(self) -> bytes:
        """Return the same in OpenMetrics, which has exemplars: of one process only, as the library keeps no others."""
        return openmetrics.generate_latest(self._everyone())  # type: ignore[no-untyped-call,no-any-return]

    def families(self) -> list[Metric]:
        """Return all metrics as they are now, those of the other processes included."""
        return list(self._everyone().collect())

    def _everyone(self) -> CollectorRegistry:
        folder = _multiprocess_folder()
        if not folder:
            return self._registry
        _forget_dead_processes(folder)
        everyone = CollectorRegistry()
        multiprocess.MultiProcessCollector(everyone, path=folder)  # type: ignore[no-untyped-call]
        return everyone


def _gauge(name: str, text: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, registry=registry, multiprocess_mode="livesum")


def _multiprocess_folder() -> str | None:
    return os.environ.get(MULTIPROCESS) or None


def _forget_dead_processes(folder: str) -> None:
    """Remove the gauges of workers that were killed: nobody else does."""
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rsplit("_", 1)[1])
        if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(pid, path=folder)  # type: ignore[no-untyped-call]
