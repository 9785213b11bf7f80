"""An operation while it is answered: one snapshot for all of it, and one batch for all that is searched at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from lookalike.serving.context import RequestContext
from lookalike.serving.graphql.plan import Plan
from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.query.query import Query
from lookalike.serving.runtime import Runtime
from lookalike.serving.search.answers import Answer
from lookalike.serving.search.reply_room import ReplyRoom

MARGIN = 0.05
"""Share of a request's time that is kept for its reply: what has no answer by then gets an error."""


class Operation:
    """What resolvers are given."""

    def __init__(self, runtime: Runtime, asked: RequestContext, loaded: LoadedSnapshot | None, root: str = "") -> None:
        """`loaded` is leased for as long as the operation runs; None where it asks for nothing of it."""
        self.runtime = runtime
        self.asked = asked
        self.root = root
        self.limits = runtime.settings.limits
        self.room = ReplyRoom(self.limits.max_reply_bytes, asked.reply)
        self._loaded = loaded
        self._waiting: list[tuple[Query, asyncio.Future[Answer]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> LoadedSnapshot:
        """The snapshot that all is answered from."""
        assert self._loaded is not None  # noqa: S101 - whoever planned the operation saw that it needs one
        return self._loaded

    @property
    def snapshot(self) -> str:
        """Its id."""
        return self.loaded.manifest.id

    async def search(self, query: Query) -> Answer:
        """Answer one query, together with all that are asked in the same turn. Raises `ProblemError`."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start)
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((query, answer))
        return await answer

    def close(self) -> None:
        """End what is still asked: nobody waits for it."""
        for task in self._tasks:
            task.cancel()

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.create_task(self._answer(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: Sequence[tuple[Query, asyncio.Future[Answer]]]) -> None:
        deadline = self.asked.deadline - MARGIN * self.limits.request_seconds
        try:
            found = await self.runtime.service.search_all(
                [query for query, _ in batch], self.snapshot, deadline=deadline
            )
        except Exception as error:  # noqa: BLE001 - of any kind: each of those who wait must learn of it
            _finish(batch, [error] * len(batch))
        else:
            _finish(batch, found.answers)


def _finish(batch: Sequence[tuple[Query, asyncio.Future[Answer]]], answers: Sequence[Answer | Exception]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():  # whoever asked is gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


@contextmanager
def running(runtime: Runtime, asked: RequestContext, plan: Plan, root: str = "") -> Iterator[Operation]:
    """Run an operation under a lease on its snapshot. Raises `ProblemError` where there is none."""
    with runtime.follower.lease(plan.snapshot) if plan.needs_snapshot else nullcontext() as loaded:
        operation = Operation(runtime, asked, loaded, root)
        try:
            yield operation
        finally:
            operation.close()
