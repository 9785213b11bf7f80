"""A client for the application in this process: its own event loop in a thread, no sockets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.runtime import Runtime

PATIENCE_SECONDS = 60.0
"""How long a test waits before it fails: only a failure lasts so long, so a busy machine may take its time."""

T = TypeVar("T")


class Client:
    """Speaks to a running application. `request`, `get` and `post` are those of httpx."""

    def __init__(self, app: FastAPI, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self._loop = loop
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    @property
    def runtime(self) -> Runtime:
        """What the application runs."""
        found = self.app.state.runtime
        assert isinstance(found, Runtime)
        return found

    @property
    def loaded(self) -> LoadedSnapshot:
        """The snapshot that is served."""
        found = self.runtime.follower.current
        assert found is not None
        return found

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the application's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        return self.run(self._http.request(method, url, **more))

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self.request("GET", url, **more)

    def post(self, url: str, **more: Any) -> httpx.Response:
        return self.request("POST", url, **more)

    def search(self, **query: Any) -> httpx.Response:
        return self.post("/v1/search", json=query)

    def wait(self, what: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Return what `/readyz` says as soon as it satisfies `what`."""
        return wait_for(lambda: self.get("/readyz").json(), what, seconds)

    def wait_for_queries(self, count: int) -> None:
        """Return as soon as so many queries are in progress; a server may be ready before its first probe has left."""
        wait_for(lambda: self.get("/metrics").text, lambda text: f"lookalike_queries_in_progress {count:.1f}\n" in text)


@contextmanager
def running(app: FastAPI) -> Iterator[Client]:
    """Run an application with its background tasks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    client = Client(app, loop)
    lifespan = app.router.lifespan_context(app)
    try:
        client.run(lifespan.__aenter__())
        try:
            yield client
        finally:
            client.run(lifespan.__aexit__(None, None, None))
            client.run(client._http.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def wait_for(look: Callable[[], T], what: Callable[[T], bool], seconds: float = PATIENCE_SECONDS) -> T:
    """Return what `look` gives as soon as it satisfies `what`."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if what(found):
            return found
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.02)
