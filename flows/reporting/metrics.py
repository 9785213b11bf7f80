"""Metrics of a run for Prometheus: a file for node-exporter, a push gateway, or both, by setting."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway, write_to_textfile
from prometheus_client.parser import text_string_to_metric_families

from lookalike.data.reports import RunReport, State
from lookalike.flows.reporting.certificates import read_certificate_ends
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.settings import BatchSettings

JOB = "lookalike"
TIMEOUT_SECONDS = 5.0
SUCCEEDED = frozenset({"published", "unchanged", "unpublished"})
CURRENT = frozenset({"published", "unchanged"})  # the report's snapshot is what the channel points at

_LABELS = ("channel", "kind")
_LAST_SUCCESS = "lookalike_batch_last_success_timestamp_seconds"
_SNAPSHOT_CREATED = "lookalike_batch_snapshot_created_timestamp_seconds"
_LASTING = {
    _LAST_SUCCESS: "When a run last ended well",
    _SNAPSHOT_CREATED: "When the snapshot that such a run left the channel at was made; time() minus this is its age",
}


def push_metrics(settings: BatchSettings, report: RunReport) -> None:
    """Say to Prometheus what a run did. A run that was skipped says nothing; what fails here is logged, and no more."""
    if report.state == "skipped":
        return
    targets = ((_write_file, settings.metrics_textfile), (_push, settings.metrics_pushgateway))
    ends = read_certificate_ends(settings) if any(target for _, target in targets) else {}
    for push, target in targets:
        if target:
            try:
                push(target, report, ends)
            except (OSError, ValueError, HTTPException) as error:
                run_log(__name__).error("metrics: %s did not receive the figures of this run: %s", target, error)


def textfile(folder: str, report: RunReport) -> Path:
    """Return the file of a report's channel and kind: each series has one writer."""
    return Path(folder).expanduser() / f"lookalike-{report.channel}-{report.kind}.prom"


def _write_file(folder: str, report: RunReport, ends: dict[str, float]) -> None:
    path = textfile(folder, report)
    write_to_textfile(str(path), _registry(report, _read_lasting(path) | _lasting(report), ends))


def _push(gateway: str, report: RunReport, ends: dict[str, float]) -> None:
    # adding, not replacing: what a failed run cannot say stays as the last good one said it
    pushadd_to_gateway(
        gateway,
        JOB,
        _registry(report, _lasting(report), ends),
        grouping_key={"channel": report.channel, "kind": report.kind},
        timeout=TIMEOUT_SECONDS,
    )


def _registry(report: RunReport, lasting: dict[str, float], ends: dict[str, float]) -> CollectorRegistry:
    registry = _Registry(report)
    registry.put("pictures", "Pictures by where their vector came from", "source", _pictures(report))
    registry.put("product_changes", "Products that came, changed and went", "change", _changes(report))
    registry.put("rejects", "Products left out, by reason", "reason", _rejects(report))
    registry.put("stage_seconds", "Duration by stage", "stage", report.stage_seconds)
    registry.put("figure", "Quality, such as recall_at_10", "name", report.figures)
    registry.put("run_state", "1 for how the last run ended", "state", _states(report))
    registry.put("certificate_expiry_timestamp_seconds", "When Dask's certificates end", "certificate", ends)
    registry.put_one("lookalike_batch_products", "Products in the snapshot", report.products)
    registry.put_one("lookalike_batch_unseen", "Products kept though their picture could not be seen", report.unseen)
    registry.put_one("lookalike_batch_run_seconds", "Duration of the last run", report.seconds)
    registry.put_one("lookalike_batch_last_run_timestamp_seconds", "When the last run ended", _end_time(report))
    for name, value in lasting.items():
        registry.put_one(name, _LASTING[name], value)
    return registry.registry


class _Registry:
    def __init__(self, report: RunReport) -> None:
        self.registry = CollectorRegistry()
        self._labels = (report.channel, report.kind)

    def put(self, name: str, text: str, label: str, values: dict[str, float]) -> None:
        gauge = Gauge(f"lookalike_batch_{name}", text, [*_LABELS, label], registry=self.registry)
        for key, value in values.items():
            gauge.labels(*self._labels, key).set(value)

    def put_one(self, name: str, text: str, value: float) -> None:
        Gauge(name, text, _LABELS, registry=self.registry).labels(*self._labels).set(value)


def _pictures(report: RunReport) -> dict[str, float]:
    return {"embedded": report.embedded, "reused": report.reused}


def _changes(report: RunReport) -> dict[str, float]:
    return {name: getattr(report, name) for name in ("added", "changed_pictures", "changed_text", "removed")}


def _rejects(report: RunReport) -> dict[str, float]:
    # never empty: a gateway would go on showing those of the run before
    return {"other": report.rejected - sum(report.reject_reasons.values()), **report.reject_reasons}


def _states(report: RunReport) -> dict[str, float]:
    return {state: float(state == report.state) for state in get_args(State) if state != "skipped"}


def _end_time(report: RunReport) -> float:
    return report.started_at.timestamp() + report.seconds


def _lasting(report: RunReport) -> dict[str, float]:
    """Return what holds until the next run that ends well says otherwise; nothing of one that did not."""
    if report.state not in SUCCEEDED:
        return {}
    found = {_LAST_SUCCESS: _end_time(report)}
    if report.state in CURRENT and report.snapshot:
        created = datetime.strptime(report.snapshot.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        found[_SNAPSHOT_CREATED] = created.timestamp()
    return found


def _read_lasting(path: Path) -> dict[str, float]:
    with suppress(FileNotFoundError):
        families = text_string_to_metric_families(path.read_text())
        return {family.name: family.samples[0].value for family in families if family.name in _LASTING}
    return {}
