"""Name an encoder by its content, so that vectors of two encoders are never taken for each other's."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lookalike.tasks.images.preprocessing import Preprocessing

_DIGITS = 16

EXPORT_VERSION = "export-1"
"""Part of every exported encoder's fingerprint: a change to the export that changes vectors is a new version."""


def fingerprint(*, weights: str, preprocessing: Preprocessing, pooling: str, version: str, **more: Any) -> str:
    """Sixteen hex digits over all that decides the vectors.

    `weights` is a digest of the weights, `version` names the code that turns them into a model, and `more`
    is anything else (JSON) that the vectors depend on.
    """
    parts = {
        "weights": weights,
        "preprocessing": preprocessing.identity(),
        "pooling": pooling,
        "version": version,
        **more,
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]
