"""Write the dashboards: `make dashboards`, with the package of `tools.txt` in an environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

COUNT = "lookalike_request_seconds_count"
QUERIES = 'route!~"/(metrics.*|livez|readyz)|unmatched"'
HERE = Path(__file__).parent

# what the axis of a panel shows at least: where all is zero, Grafana would draw it up to 100, or 10,000 %
LEAST = {"percentunit": 0.01, "short": 1.0, "reqps": 1.0, "s": 0.1}

# title, unit, expression, legend
Panel = tuple[str, str, str, str]

DASHBOARDS: dict[str, list[Panel]] = {
    "overview": [
        ("Queries", "reqps", "lookalike:queries:rate5m", "{{job}}"),
        ("Share of queries that fail", "percentunit", "lookalike:query_errors:ratio5m", "{{job}}"),
        ("Queries by gateway", "reqps",
         f"sum by (gateway) (rate({COUNT}{{{QUERIES}}}[5m])) or on () vector(0)", "{{gateway}}"),
        ("Errors by status", "reqps",
         f'sum by (status) (rate({COUNT}{{status=~"[45].."}}[5m])) or on () vector(0)', "{{status}}"),
        ("Time of a search, 95 %", "s", "lookalike:query_seconds:p95_5m", "{{job}}"),
        ("Time of each stage", "s", "lookalike:stage_seconds:mean5m", "{{stage}}"),
        ("Age of the served snapshot", "s", "time() - lookalike:snapshot_created:timestamp_seconds", "{{instance}}"),
        ("Served snapshots", "short", "lookalike:snapshots_served:count", "{{channel}}"),
        ("Swaps in an hour", "short", "sum(increase(lookalike_swaps_total[1h])) or on () vector(0)", "swaps"),
        ("Recall of the probe", "percentunit", "lookalike_recall", "{{instance}}"),
    ],
    "pipeline": [
        ("Pictures a second", "short", "lookalike_batch:embedded:per_second", "{{channel}} {{kind}}"),
        ("Time of each stage", "s", "topk(6, lookalike_batch_stage_seconds)", "{{kind}} {{stage}}"),
        ("Rejects by reason", "short", "sum by (channel, reason) (lookalike_batch_rejects)", "{{channel}} {{reason}}"),
        ("Time since a run ended well", "s", "lookalike_batch:last_success:age_seconds", "{{channel}} {{kind}}"),
        ("Vectors that were there", "percentunit", "lookalike_batch:reused:ratio", "{{channel}} {{kind}}"),
        ("How the last run ended", "short", "lookalike_batch_run_state == 1", "{{channel}} {{kind}} {{state}}"),
    ],
    "capacity": [
        ("Pictures that wait", "short", "sum by (instance) (lookalike_queue_depth)", "{{instance}}"),
        ("The oldest of them waits", "s", "lookalike_queue_oldest_seconds", "{{instance}}"),
        ("Pictures encoded together", "short",
         "sum(rate(lookalike_batch_size_sum[5m])) / (sum(rate(lookalike_batch_size_count[5m])) > 0) or on () vector(0)",
         "mean"),
        ("Share of queries refused: too many wait", "percentunit", "lookalike:overloaded:ratio5m", "{{job}}"),
        ("Cores used", "short", "lookalike:cores_used:rate5m", "{{job}}"),
        ("Memory used", "percentunit", "lookalike:memory_used:ratio", "{{instance}}"),
        ("Cost of a query", "s", "lookalike:query_cpu_seconds:mean5m", "{{job}}"),
        ("Free space of the cache", "bytes", "lookalike_cache_free_bytes", "{{instance}}"),
    ],
}  # fmt: skip


def build(name: str) -> str:
    """Return a dashboard as JSON."""
    from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    source: Any = DataSourceRef(type_val="prometheus", uid="prometheus")
    board: Any = dashboard.Dashboard(f"Lookalike: {name}").uid(f"lookalike-{name}").refresh("30s").time("now-3h", "now")
    for title, unit, expression, legend in DASHBOARDS[name]:
        query: Any = prometheus.Dataquery().ref_id("A").expr(expression).legend_format(legend)
        panel: Any = timeseries.Panel().title(title).unit(unit).min(0).datasource(source).height(8).span(12)
        if unit in LEAST:
            panel = panel.axis_soft_max(LEAST[unit])
        board = board.with_panel(panel.with_target(query))
    return str(JSONEncoder(sort_keys=True, indent=1).encode(board.build())) + "\n"


def write(folder: Path) -> None:
    """Write all dashboards into a folder."""
    for name in DASHBOARDS:
        (folder / f"{name}.json").write_text(build(name))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
