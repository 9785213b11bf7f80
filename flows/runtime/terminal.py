"""What a person at a terminal sees of a run: our own messages, plain, and none of Prefect's."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.data.errors import UnavailableError

OURS = str(Path(__file__).parents[1])


def quiet_prefect() -> None:
    """Keep Prefect's own lines off the terminal; the UI has them. Call before Prefect is imported."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # without PREFECT_API_URL Prefect starts a server for the run, and a busy machine takes its time
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


@contextmanager
def explain_prefect() -> Iterator[None]:
    """Say in a sentence that the Prefect server is away, instead of in a hundred lines. Raises `UnavailableError`."""
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    address = os.environ.get("PREFECT_API_URL")
    advice = "start it, or leave the variable out, and the run starts a server for itself"
    try:
        yield
    except httpx.TransportError as error:
        raise UnavailableError(f"the Prefect server at {address} stopped answering ({error!r}): {advice}") from error
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        raise UnavailableError(f"the Prefect server at {address} answered with {status}: see its log") from error
    except RuntimeError as error:
        if not str(error).startswith("Failed to reach API"):
            raise
        raise UnavailableError(f"no Prefect server answers at {address} (PREFECT_API_URL): {advice}") from error


def show_stages() -> None:
    """Print what stages log to standard error; where nobody watches, only what needs attention."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if sys.stderr.isatty() else logging.WARNING)
    handler.setFormatter(logging.Formatter("  %(message)s"))
    handler.addFilter(lambda record: record.pathname.startswith(OURS))
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addHandler(handler)
