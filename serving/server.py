"""The server: one process, or several that share a port."""

from __future__ import annotations

import copy
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from serving.settings import ServingSettings

_HANDED_OVER = "_LOOKALIKE_SERVING"
"""How a worker process, which is spawned and not forked, learns the settings that its parent was given."""
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_log = logging.getLogger(__name__)


def serve(settings: ServingSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was taken. Raises `InputError` for an impossible store."""
    with _ends_quietly():
        if settings.workers == 1:
            from serving.app import create_app  # noqa: PLC0415 - the parent of workers needs none of it

            uvicorn.run(create_app(settings), **_options(settings))
        else:
            with _handed_over(settings):
                uvicorn.run("serving.server:worker", factory=True, workers=settings.workers, **_options(settings))


def worker() -> FastAPI:
    """Return the application of a worker process."""
    from serving.app import create_app  # noqa: PLC0415 - metrics choose their kind when they are imported

    return create_app(ServingSettings.model_validate_json(os.environ[_HANDED_OVER]))


def _options(settings: ServingSettings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level,
        "log_config": _log_config(settings),
        "access_log": settings.access_log,
        "server_header": False,
        "timeout_graceful_shutdown": settings.shutdown_seconds,
        "timeout_keep_alive": 30,
    }


def _log_config(settings: ServingSettings) -> dict[str, Any]:
    config = copy.deepcopy(LOGGING_CONFIG)
    config["disable_existing_loggers"] = False
    for name in ("serving", "data", "tasks"):
        config["loggers"][name] = {"handlers": ["default"], "level": settings.log_level.upper(), "propagate": False}
    return config


@contextmanager
def _handed_over(settings: ServingSettings) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="lookalike-metrics-") as folder:
        os.environ[_HANDED_OVER] = settings.model_dump_json()
        given = os.environ.setdefault(_METRICS_FOLDER, folder)
        try:
            yield
        finally:
            del os.environ[_HANDED_OVER]
            if given == folder:
                del os.environ[_METRICS_FOLDER]


@contextmanager
def _ends_quietly() -> Iterator[None]:
    """uvicorn raises the signal again that ended it: being asked to stop is no failure."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ignore(number: int, frame: FrameType | None) -> None:
        _log.debug("signal %d, after the server stopped", number)

    before = {number: signal.signal(number, ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
