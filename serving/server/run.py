"""The server: one process, or several that share a port."""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from lookalike.data.errors import InputError
from lookalike.data.imports import imports_uncollected
from lookalike.serving.server.memory import give_back_memory
from lookalike.serving.server.workers import run_workers
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.logs import log_config

_HANDED_OVER = "_LOOKALIKE_SERVING"
"""How a worker process, which is spawned and not forked, learns the settings that its parent was given."""
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_RESERVED = 256
"""File descriptors that a worker keeps for what is no connection: its store, its log, pictures, other servers."""
_FAILED = 3  # as uvicorn itself exits where it cannot start

_log = logging.getLogger(__name__)


def serve(settings: ServingSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was taken. Raises `InputError` for a store or keys of no use."""
    logging.config.dictConfig(log_config(settings))
    _check_extras(settings)
    if settings.is_exposed and not settings.access.required:
        _warn_of_open_doors(settings)
    if settings.workers == 1:
        with imports_uncollected():
            from lookalike.serving.server.gateways import create_gateways  # noqa: PLC0415 - parents of workers need none

        give_back_memory()
        app = create_gateways(settings)
        with _ends_quietly():
            _listen(app, settings)
    else:
        with _ends_quietly(), _hand_over(settings):
            _listen("lookalike.serving.server.run:worker", settings, factory=True, workers=settings.workers)


def worker() -> ASGIApp:
    """Return the application of a worker process."""
    with imports_uncollected():
        from lookalike.serving.server.gateways import create_gateways  # noqa: PLC0415 - metrics choose their kind on import

    give_back_memory()
    _end_with_parent()
    return create_gateways(ServingSettings.model_validate_json(os.environ[_HANDED_OVER]))


def _check_extras(settings: ServingSettings) -> None:
    """Raise `InputError` where a gateway is wanted that is not installed."""
    if settings.grpc.port is not None and find_spec("grpc_health") is None:
        raise InputError("gRPC needs the extra `grpc`: pip install 'lookalike[grpc]'")


def _end_with_parent() -> None:
    """Let this worker finish what it took and end when its parent is gone: nobody else would ever stop it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        _log.error("the parent of this worker is gone: it ends, too")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="watch parent", daemon=True).start()


def _listen(app: ASGIApp | str, settings: ServingSettings, **more: Any) -> None:
    options = {**_options(settings), **more}
    _log.info("the search page: %s", _address(settings))
    if settings.admin_port is None and settings.workers == 1:
        uvicorn.run(app, **options)
        return
    ports = [options]
    if settings.admin_port is not None:
        # One application behind both: it tells them apart by the port that a connection came to.
        ports.append({**options, "host": settings.admin_host, "port": settings.admin_port})
    _run(uvicorn.Config(app, **options), [uvicorn.Config(app, **given).bind_socket() for given in ports])


def _run(config: uvicorn.Config, sockets: list[socket.socket]) -> None:
    if config.workers > 1:
        run_workers(config, sockets)
        return
    server = uvicorn.Server(config)
    server.run(sockets)
    if not server.started:
        sys.exit(_FAILED)


def _warn_of_open_doors(settings: ServingSettings) -> None:
    _log.warning(
        "EVERYBODY who reaches %s:%d may search, read all products and /metrics: there are no API keys. "
        "`lookalike keys create` makes one; LOOKALIKE_ACCESS__KEYS_FILE names their file",
        settings.host, settings.port,
    )  # fmt: skip


def _address(settings: ServingSettings) -> str:
    """Return the URL of the search page, as it is on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - read, not bound
    return f"http://{host}:{settings.port}/"


def _options(settings: ServingSettings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level,
        "log_config": log_config(settings),
        "access_log": False,  # `Tracing` writes a better line
        "server_header": False,
        "http": "lookalike.serving.server.connections:PatientProtocol",
        "limit_concurrency": _bound_connections(settings.limits.connections),
        **_websockets(settings),
        "proxy_headers": False,  # the application reads them, with the prefix
        "timeout_graceful_shutdown": settings.shutdown_seconds,
        # longer than load balancers keep a connection, mostly 60 s: else they send a request into one that just closed
        "timeout_keep_alive": 75,
    }


def _websockets(settings: ServingSettings) -> dict[str, Any]:
    if not (settings.stream.enabled or settings.graphql.enabled):
        return {"ws": "none"}  # there is no WebSocket to open: such an offer is ignored, as any other
    return {
        "ws": "lookalike.serving.server.websockets:PatientWebSocket",
        "ws_max_size": settings.limits.max_body_bytes,
        "ws_per_message_deflate": False,  # pictures are compressed, and a bomb is not
        "ws_ping_interval": 20.0,  # so that no proxy on the way takes a quiet stream for a dead one
        # a client that reads one answer a second also reads our ping late: a dead one is noticed as an idle one is
        "ws_ping_timeout": settings.stream.idle_seconds,
    }


def _bound_connections(wanted: int) -> int:
    """Return how many connections a worker may have, after making room for them in its file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _RESERVED + wanted
    if soft != resource.RLIM_INFINITY and soft < most:
        soft = most if hard == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= most:
        return wanted
    bound = max(soft - _RESERVED, soft // 2)
    _log.warning("a process may open %d files here: %d connections, not %d", soft, bound, wanted)
    return bound


@contextmanager
def _hand_over(settings: ServingSettings) -> Iterator[None]:
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
