"""Pictures that have to be read: by URL, from allowed hosts only, or products', from where the catalogue has them.

Errors are in words that show nothing of the network behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from lookalike.data.errors import FetchError, ImageRejectedError
from lookalike.data.fetch.images import MAX_BYTES, read_image
from lookalike.data.fetch.policy import FetchPolicy
from lookalike.data.snapshots.products import View
from lookalike.serving.background import in_thread
from lookalike.serving.errors import ProblemError, deadline_problem, overload_problem
from lookalike.serving.telemetry.metrics import Metrics

FETCHES = 16  # at a time
LEAST_SECONDS = 0.001

_MISSING = ("url_missing", "There is no picture at this URL, or its server does not let us have it.")
_NOT_ALLOWED = ("url_not_allowed", "This URL, or what it redirects to, is nothing that may be fetched from here.")
_UNREACHABLE = ("url_unreachable", "The URL's server did not answer as it should: try again, or send the picture.")
_PROBLEMS: Mapping[str, tuple[str, str]] = {
    "bad_url": ("url_malformed", "The URL, or what it redirects to, cannot be fetched: write https://host/path."),
    "host_not_allowed": _NOT_ALLOWED,
    "private_address": _NOT_ALLOWED,  # the same words: a caller must not learn which names lead where
    "missing": _MISSING,
    "forbidden": _MISSING,
    "too_many_bytes": ("image_too_many_bytes", "What the URL leads to has too many bytes for a query picture."),
    "unreachable": _UNREACHABLE,
    "too_many_redirects": _UNREACHABLE,
    "unreadable": _UNREACHABLE,
}

_log = logging.getLogger(__name__)

READS = 16  # at a time: a store may take long to answer, and each read holds a picture in memory
USUAL_BYTES = 4 * 2**20
"""A picture with more is one of the large ones, of which few are read at a time."""
LARGE_READS = 2
WAITING = 256
"""As many as queries may wait by default: a page of products asks for a hundred at once."""


class UrlReader:
    """Reads pictures that callers name. Without allowed hosts it reads nothing."""

    def __init__(self, policy: FetchPolicy, metrics: Metrics) -> None:
        self._policy = policy
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")

    async def read(self, url: str, *, deadline: float) -> bytes:
        """Return what a URL leads to; `deadline` is on the monotonic clock. Raises `ProblemError`."""
        if not self._policy.allowed_hosts:
            raise ProblemError("urls_off", "This server fetches no pictures: send the picture itself as `image`.")
        try:
            data = await asyncio.get_running_loop().run_in_executor(self._threads, self._fetch, url, deadline)
        except FetchError as error:
            self._metrics.fetches.labels(error.reason).inc()
            _log.info("a query's URL was not fetched (%s): %s", error.reason, error)
            code, detail = _PROBLEMS.get(error.reason, _UNREACHABLE)
            raise ProblemError(code, detail) from error
        self._metrics.fetches.labels("ok").inc()
        return data

    def close(self) -> None:
        """Let the threads go; what they fetch ends with its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, url: str, deadline: float) -> bytes:
        from lookalike.data.fetch.client import fetch  # noqa: PLC0415 - most servers fetch nothing and need no HTTP client

        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            raise deadline_problem()
        with self._metrics.stage("fetch"):
            return fetch(url, replace(self._policy, total_seconds=min(left, self._policy.total_seconds)))


class PictureReads:
    """A read that its caller has left goes on in its thread, and keeps its place until it has ended."""

    def __init__(self, policy: FetchPolicy, metrics: Metrics) -> None:
        self._policy = policy if policy.allowed_hosts else None
        self._metrics = metrics
        self._free = asyncio.Semaphore(READS)
        self._free_for_large = asyncio.Semaphore(LARGE_READS)
        self._waiting = 0
        self._reading: set[asyncio.Task[bytes]] = set()

    async def read(self, picture: View) -> bytes:
        """Return a product's picture. Raises `ImageRejectedError`, `ProblemError` where too many wait."""
        try:
            return await self._read(picture, USUAL_BYTES, self._free)
        except ImageRejectedError as error:
            if error.reason != "too_many_bytes":
                raise
        return await self._read(picture, MAX_BYTES, self._free_for_large)

    async def _read(self, picture: View, max_bytes: int, free: asyncio.Semaphore) -> bytes:
        await self._take_place(free)
        task = asyncio.create_task(
            in_thread(lambda: read_image(picture.image, max_bytes=max_bytes, policy=self._policy), name="read picture")
        )
        self._reading.add(task)
        task.add_done_callback(partial(self._give_place_back, free))
        return await asyncio.shield(task)

    def close(self) -> None:
        """Abandon what is being read."""
        for task in self._reading:
            task.cancel()

    async def _take_place(self, free: asyncio.Semaphore) -> None:
        if self._waiting >= WAITING:
            self._metrics.shed.inc()
            raise overload_problem(1.0)
        self._waiting += 1
        try:
            await free.acquire()
        finally:
            self._waiting -= 1

    def _give_place_back(self, free: asyncio.Semaphore, task: asyncio.Task[bytes]) -> None:
        self._reading.discard(task)
        free.release()
        if not task.cancelled():
            task.exception()  # its caller may have left: nobody else asks
