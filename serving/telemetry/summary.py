"""The summary: what the metrics say, for a person."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from prometheus_client.metrics_core import Metric


@dataclass(slots=True)
class Timing:
    """A histogram in seconds: `buckets` are cumulative counts by their upper bounds."""

    count: float = 0
    seconds: float = 0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def mean(self) -> float:
        """Seconds."""
        return self.seconds / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return the upper bound of the bucket in which a quantile lies, in seconds; infinite beyond the last."""
        bounds = sorted(self.buckets)
        return next((bound for bound in bounds if self.buckets[bound] >= share * self.count), math.inf)


class Figures:
    """Metrics by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for family in families:
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def value(self, name: str) -> float:
        """Return the sum of a metric over all labels; 0 where there is none."""
        return sum(value for _, value in self._samples.get(name, []))

    def by(self, name: str, *labels: str) -> dict[str, float]:
        """Return a metric by some of its labels, the largest first."""
        found: dict[str, float] = defaultdict(float)
        for given, value in self._samples.get(name, []):
            found[" ".join(given.get(label, "") for label in labels)] += value
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def timings(self, name: str, *labels: str) -> dict[str, Timing]:
        """Return a histogram by some of its labels."""
        found: dict[str, Timing] = defaultdict(Timing)
        for suffix in ("_count", "_sum", "_bucket"):
            for given, value in self._samples.get(name + suffix, []):
                timing = found[" ".join(given.get(label, "") for label in labels)]
                if suffix == "_count":
                    timing.count += value
                elif suffix == "_sum":
                    timing.seconds += value
                else:
                    timing.buckets[float(given["le"])] += value
        return {name: timing for name, timing in found.items() if timing.count}


def summary(families: Iterable[Metric], now: float) -> str:
    """Return the page's body as HTML; `now` is seconds since 1970."""
    figures = Figures(families)
    stages = figures.timings("lookalike_stage_seconds", "stage")
    whole = sum(timing.seconds for timing in stages.values()) or 1.0
    shares = {name: timing.seconds / whole for name, timing in stages.items()}
    ordered = sorted(stages, key=lambda name: -shares[name])
    return "".join(
        (
            "<h1>Status</h1><p>Since the start, all server processes together.</p>",
            _section("Where the time goes", _HEAD, [_stage(name, stages[name], shares[name]) for name in ordered]),
            _NOTE,
            _section("Requests", _HEAD[:-1], _requests(figures)),
            _section("Queue and encoder", (), _encoder(figures)),
            _section("Snapshot", (), _snapshot(figures, now)),
            _section("Refused and dropped", (), _refusal_rows(figures)),
            _section("Build", (), _info(figures, "lookalike_build_info", "version", "python", "faiss", "onnxruntime")),
        )
    )


_NOTE = (
    "<p>The share of all time spent in stages. <code>encode</code> counts once a batch; queries also wait for one "
    "another in <code>queue</code>.</p>"
)
_HEAD = ("", "count", "mean", "p50 up to", "p95 up to", "p99 up to", "share")


def _stage(name: str, timing: Timing, share: float) -> Sequence[str]:
    meter = f'<meter value="{share:.4f}">{share:.0%}</meter> {100 * share:.1f} %'
    return (*_timing_row(name, timing), meter)


def _timing_row(name: str, timing: Timing) -> Sequence[str]:
    quantiles = (_seconds(timing.quantile(share)) for share in (0.5, 0.95, 0.99))
    return (escape(name), f"{timing.count:,.0f}", _seconds(timing.mean), *quantiles)


def _requests(figures: Figures) -> list[Sequence[str]]:
    timings = figures.timings("lookalike_request_seconds", "method", "route", "status")
    return [_timing_row(name, timings[name]) for name in sorted(timings, key=lambda name: -timings[name].count)]


def _encoder(figures: Figures) -> list[Sequence[str]]:
    pictures, batches = figures.value("lookalike_batch_size_sum"), figures.value("lookalike_batch_size_count")
    return [
        ("queries in progress", f"{figures.value('lookalike_queries_in_progress'):,.0f}"),
        ("pictures that wait", f"{figures.value('lookalike_queue_depth'):,.0f}"),
        ("the oldest of them waits", _seconds(figures.value("lookalike_queue_oldest_seconds"))),
        ("pictures a batch, on average", f"{pictures / batches:.2f}" if batches else "none yet"),
        *_counts("batches that went", figures.by("lookalike_batches_released_total", "reason")),
        *_counts("vectors", figures.by("lookalike_query_vectors_total", "source")),
        *_counts("thumbnails", figures.by("lookalike_thumbnails_total", "source")),
        *_counts("URLs fetched", figures.by("lookalike_fetches_total", "result")),
    ]


def _snapshot(figures: Figures, now: float) -> list[Sequence[str]]:
    serving = [name for name, value in figures.by("lookalike_snapshot_info", "snapshot", "encoder").items() if value]
    created = figures.value("lookalike_snapshot_created_timestamp_seconds")
    swaps = figures.timings("lookalike_swap_seconds").get("", Timing())
    recall = [f"{value:.3f} at {k}" for k, value in figures.by("lookalike_recall", "k").items()]
    return [
        ("served", escape(", ".join(serving)) or "none yet"),
        ("age", f"{(now - created) / 3600:,.1f} hours" if created else "none yet"),
        ("products", f"{figures.value('lookalike_snapshot_products'):,.0f}"),
        ("swaps, and their mean time", f"{swaps.count:,.0f}, {_seconds(swaps.mean)}"),
        ("snapshots that could not be opened", f"{figures.value('lookalike_swap_failures_total'):,.0f}"),
        ("recall, by the probe", ", ".join(recall) or "not measured"),
    ]


def _refusal_rows(figures: Figures) -> list[Sequence[str]]:
    return [
        ("too many waited", f"{figures.value('lookalike_overloaded_total'):,.0f}"),
        *_counts("dropped", figures.by("lookalike_dropped_total", "reason")),
        *_counts("refused", figures.by("lookalike_refused_total", "reason")),
    ]


def _info(figures: Figures, name: str, *labels: str) -> list[Sequence[str]]:
    return [(label, escape(", ".join(figures.by(name, label)))) for label in labels]


def _counts(what: str, found: Mapping[str, float]) -> list[Sequence[str]]:
    return [(f"{what}: {escape(name)}", f"{value:,.0f}") for name, value in found.items() if value]


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`rows` are HTML; the first cell of each names it."""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    top = f"<thead><tr>{names}</tr></thead>" if head else ""
    return f"<section><h2>{title}</h2><table>{top}<tbody>{''.join(map(_row, rows))}</tbody></table></section>"


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    more = "".join(f"<td>{cell}</td>" for cell in rest)
    return f'<tr><th scope="row">{first}</th>{more}</tr>'


def _seconds(seconds: float) -> str:
    if math.isinf(seconds):
        return "more"
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{1000 * seconds:,.2f} ms"
