"""What a worker uses, as its metrics say it."""

from __future__ import annotations

from pathlib import Path

from lookalike.serving.telemetry.metrics import Metrics
from lookalike.serving.telemetry.resources import Resources, free_bytes, memory_bytes, memory_limit_bytes
from tests.serving.telemetry.test_metrics import values
from tests.support.client import Client, wait_for
from tests.support.shop import Shop


def value_of(metrics: Metrics, name: str) -> float:
    return next(sample.value for family in metrics.families() for sample in family.samples if sample.name == name)


def test_processor_time_is_counted_once(tmp_path: Path) -> None:
    metrics = Metrics()
    resources = Resources(metrics, tmp_path)
    resources.sample()
    first = value_of(metrics, "lookalike_cpu_seconds_total")
    sum(range(2_000_000))
    resources.sample()
    more = value_of(metrics, "lookalike_cpu_seconds_total") - first
    assert 0 < more < max(first, 1.0)  # counted from the start again, it would be twice the first at least


def test_memory_is_within_its_limit() -> None:
    block = bytearray(64 * 2**20)
    assert len(block) < memory_bytes() < memory_limit_bytes()


def test_a_folder_that_is_not_there_yet_has_the_space_of_its_disk(tmp_path: Path) -> None:
    assert abs(free_bytes(tmp_path / "a" / "b") - free_bytes(tmp_path)) < 2**30
    assert free_bytes(tmp_path) > 0


def test_a_server_says_what_it_uses(served: tuple[Shop, Client]) -> None:
    _, client = served
    wait_for(lambda: values(client), lambda found: found["lookalike_memory_bytes{}"] > 0)
    found = values(client)
    assert found["lookalike_cpu_seconds_total{}"] > 0
    assert found["lookalike_memory_limit_bytes{}"] > found["lookalike_memory_bytes{}"]
    assert found["lookalike_cache_free_bytes{}"] > 0
    assert found["lookalike_keys_next_expiry_timestamp_seconds{}"] == float("inf")


def test_series_that_are_known_begin_at_zero() -> None:
    text = Metrics().render().decode()
    for line in (
        'lookalike_query_vectors_total{source="cached"} 0.0',
        'lookalike_dropped_total{reason="expired"} 0.0',
        'lookalike_batches_released_total{reason="full"} 0.0',
        'lookalike_stage_seconds_count{stage="encode"} 0.0',
    ):
        assert line in text
