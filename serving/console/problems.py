"""Problems of operators. They may read what the store said: a searcher may not, for it names buckets and machines."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.data.errors import (
    ConflictError,
    CorruptError,
    LookalikeError,
    NotFoundError,
    SnapshotNotFoundError,
    SnapshotRefusedError,
    StoreError,
    StoreRefusedError,
    UnavailableError,
)
from lookalike.serving.errors import ProblemError, as_problem, sentence

_CODES: Mapping[type[LookalikeError], str] = {
    SnapshotNotFoundError: "unknown_snapshot",
    NotFoundError: "unknown_run",
    SnapshotRefusedError: "snapshot_refused",
    CorruptError: "snapshot_damaged",
    ConflictError: "channel_moved",
    StoreRefusedError: "store_read_only",
    StoreError: "store_unavailable",
    UnavailableError: "store_unavailable",
}


def as_operators_problem(error: LookalikeError) -> ProblemError:
    """Translate an error of the store; all others are as for everybody."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    return as_problem(error) if code is None else ProblemError(code, sentence(str(error)))
