"""The log of the run where there is one; this process's own where a hook or a test calls."""

from __future__ import annotations

import logging
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger


def run_log(name: str) -> logging.Logger | logging.LoggerAdapter[Any]:
    """Return the run's logger, whose lines the Prefect UI shows; outside of a run that of module `name`."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(name)
