"""Reports of runs that never were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lookalike.data.reports import RunReport

FIRST = datetime(2026, 11, 22, 3, tzinfo=UTC)


def run_report(number: int = 1, **fields: Any) -> RunReport:
    """Return the report of run `number`, a day after the one before it; `fields` say what is special about it."""
    started = FIRST + timedelta(days=number)
    usual: dict[str, Any] = {
        "run": f"{started:%Y%m%dT%H%M%SZ}-{number:08x}",
        "kind": "reindex",
        "state": "published",
        "channel": "current",
        "catalogue": "s3://shop/products.csv",
        "snapshot": f"{started:%Y%m%dT%H%M%SZ}-0a1b2c3d",
        "started_at": started,
        "seconds": 61.5,
        "stage_seconds": {"scan": 4.0, "embed": 40.25, "build": 9.5},
        "products": 1500 + number,
        "added": 12,
        "changed_pictures": 3,
        "changed_text": 40,
        "removed": 5,
        "embedded": 15,
        "reused": 1480 + number,
        "rejected": 7,
        "reject_reasons": {"damaged": 4, "missing": 2},
        "rejects": "rejects/x.parquet",
        "shards": 4,
        "index": "IVF64,SQ8",
        "bytes": 12_000_000,
        "figures": {"recall_at_10": 0.997, "query_ms": 0.25},
        "task_runs": 14,
    }
    return RunReport(**{**usual, **fields})
