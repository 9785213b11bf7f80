"""The runtime: everything that a server is made of, built once, started and stopped together.

Every gateway is given this one object: it admits a request, asks the service, and writes the answer in its protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from lookalike.data.stores import open_store
from lookalike.serving.access.admission import Admission, Policy
from lookalike.serving.access.audit import Audit
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.background import supervise
from lookalike.serving.budget import Budget
from lookalike.serving.console.board import Board
from lookalike.serving.console.examiner import Examiner
from lookalike.serving.console.moves import Moves
from lookalike.serving.live.archive import Archive
from lookalike.serving.live.follower import Follower
from lookalike.serving.live.probes import PictureProbe, Readiness, RecallProbe
from lookalike.serving.live.reload import Reloads
from lookalike.serving.search.service import SearchService
from lookalike.serving.search.thumbnails import Thumbnails
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.serving.telemetry.resources import Resources


class Runtime:
    """The parts of a server. As an asynchronous context manager it runs what works in the background."""

    def __init__(self, settings: ServingSettings) -> None:
        """Build all parts; nothing runs yet. Raises `InputError` for a store, a channel or keys that cannot be."""
        store = open_store(settings.store)
        folder = settings.cache_folder(store.uri)
        self.settings = settings
        self.metrics = Metrics()
        self.follower = Follower(
            store,
            settings.channel,
            folder,
            threads=settings.encoder_threads,
            poll_seconds=settings.poll_seconds,
            metrics=self.metrics,
            retain_seconds=settings.retain_seconds,
            pin_seconds=settings.stream.pin_seconds,
        )
        self.service = SearchService(settings, self.follower, self.metrics)
        limits = settings.limits
        self.bodies = Budget("request bodies", limits.bodies_bytes, self.metrics.shed.inc)
        self.replies = Budget("replies", limits.replies_bytes, self.metrics.shed.inc)
        self.thumbnails = Thumbnails(self.service, self.metrics, max_bytes=settings.thumbnail_bytes)
        self.readiness = Readiness(
            self.follower,
            self.metrics,
            prove=self.service.prove,
            proved_at=lambda: self.service.proved_at,
            seconds=settings.probe_seconds,
        )
        self.reloads = Reloads(folder, self.follower.wake)
        self.recall = RecallProbe(self.follower, self.metrics, seconds=settings.recall_seconds)
        self.pictures = PictureProbe(self.follower, read=self.service.picture)
        self.archive = Archive(self.follower, most=settings.console.past_snapshots)
        self.board = Board(store)
        self.examiner = Examiner(self.follower, self.service.picture)
        self.moves = Moves(store, enabled=settings.console.moves)
        self.resources = Resources(self.metrics, folder)
        self.policy = Policy(
            required=settings.access.required,
            admin_port=settings.admin_port,
            open_metrics=settings.access.open_metrics,
        )
        self.authenticator = Authenticator(settings.access, self.metrics)
        self.rates = RateLimits(settings.rates)
        self.audit = Audit(self.metrics)
        self.admission = Admission(
            self.policy,
            self.authenticator,
            self.rates,
            self.audit,
            self.metrics,
            seconds=settings.limits.request_seconds,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start what works in the background."""
        self._tasks = [asyncio.create_task(supervise(name, run)) for name, run in self._background().items()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it, and let all threads go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.recall.close()
        self.thumbnails.close()
        self.service.close()

    def _background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "batcher": self.service.run_batcher,
            "text batcher": self.service.run_text_batcher,
            "follower": self.follower.run,
            "readiness": self.readiness.run,
            "reloads": self.reloads.run,
            "recall": self.recall.run,
            "pictures": self.pictures.run,
            "resources": self.resources.run,
            "gauges": self.service.sample_gauges,
            **self.authenticator.background(),
        }
