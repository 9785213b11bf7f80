"""What a person at a terminal sees of a run: our own messages, plain, and none of Prefect's."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

OURS = str(Path(__file__).parents[1])


def quiet_prefect() -> None:
    """Keep Prefect's own lines off the terminal; the UI has them. Call before Prefect is imported."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # without PREFECT_API_URL Prefect starts a server for the run, and a busy machine takes its time
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


def show_stages() -> None:
    """Print what stages log to standard error; where nobody watches, only what needs attention."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if sys.stderr.isatty() else logging.WARNING)
    handler.setFormatter(logging.Formatter("  %(message)s"))
    handler.addFilter(lambda record: record.pathname.startswith(OURS))
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addHandler(handler)
