"""A stream from its first message to its end, whatever carries it.

A carrier is one class (`Carrier`), and drives a session so:

    streams = Streams(runtime)                      # one for all carriers of a worker
    access = AccessRequest(Operation.SEARCH, credentials, address=…, is_local=…, port=…, path=…)
    session = Session(streams, carrier, access, gateway="grpc", route="/lookalike.v1.LookalikeService/Stream")
    end = await session.run()                       # never raises for what a client does
    …                                               # close as the protocol says: `end.reason`, `end.problem`

The session calls the carrier alone: `receive` when there is room for one more message, `send` with one message at a
time. Cancelling `run` ends everything that is under way. `streams.stop()` lets all sessions say goodbye.

Three rules keep it bounded. A query is under way from when it is taken until its answer is sent, and while `window` of
them are, nothing more is read. An answer that the client does not take in time ends the stream. And what a query and
its answer hold counts in the budgets of the caller.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar

from lookalike.data.errors import LookalikeError
from lookalike.serving.access.admission import AccessRequest
from lookalike.serving.context import Gateway, RequestContext
from lookalike.serving.errors import ProblemError, as_problem
from lookalike.serving.stream.carrier import Carrier, ClientGoneError, Encoded
from lookalike.serving.stream.items import Item, Items
from lookalike.serving.stream.messages import (
    Ask,
    Cancel,
    End,
    Goaway,
    Hello,
    Incoming,
    Order,
    Outgoing,
    Pin,
    Problem,
    Snapshot,
    Start,
    StreamLimits,
)
from lookalike.serving.stream.streams import Place, Streams

KEY_SECONDS = 10.0
"""How long a client without a key in a header has to send one."""
PROOF_SECONDS = 10.0
"""How long a caller is taken for known: a key may be withdrawn while a stream is open."""
LINGER_SECONDS = 1.0
"""How long a stopping server goes on refusing what was on the way already."""
BYTES_PER_SECOND = 64 * 2**10
"""A client has a second more for each of so many bytes of an answer."""

_ACCESS = frozenset({"unauthorized", "forbidden"})

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Session(Generic[T]):
    """One stream. It admits its caller, takes queries, sends their answers, and says how it ended."""

    def __init__(
        self,
        streams: Streams,
        carrier: Carrier[T],
        access: AccessRequest,
        *,
        gateway: Gateway,
        route: str,
        waits_for_key: bool = True,
        seconds: float = math.inf,
        request_id: str | None = None,
    ) -> None:
        """Make a stream; nothing runs yet.

        Args:
            access: with the credentials of the headers.
            route: what metrics call the stream.
            waits_for_key: whether a client without one in a header may send it in the first message.
            seconds: how long the stream may last.
            request_id: what the client calls the stream in logs and in its last problem.
        """
        self._streams = streams
        self._runtime = streams.runtime
        self._settings = self._runtime.settings.stream
        self._carrier = carrier
        self._access = access
        self._gateway = gateway
        self._asked = RequestContext(gateway=gateway, address=access.address)
        self._asked.id = request_id or self._asked.id
        self._waits_for_key = waits_for_key
        self._seconds = seconds
        self._proved_at = 0.0
        self._is_leaving = False
        self._items: Items[T] = Items(self, self._runtime, route)
        self._order: Order = "ready"
        self._pinned: str | None = None
        self._pin = ExitStack()
        self._ended: asyncio.Future[End] | None = None
        self._sending = asyncio.Lock()
        self._touched = time.monotonic()

    @property
    def payer(self) -> str:
        """Who is charged for what the stream holds."""
        return self._asked.payer

    @property
    def id(self) -> str:
        """What the stream is called in logs."""
        return self._asked.id

    async def run(self) -> End:
        """Serve the stream until it ends."""
        end = End("left")  # where this is cancelled
        try:
            with ExitStack() as held:
                held.callback(self._pin.close)
                end = await self._run(held)
                if end.problem is not None and end.reason != "slow_reader":
                    await self._say_why(end.problem)
        finally:
            self._runtime.metrics.stream_ends.labels(self._gateway, end.reason).inc()
        return end

    async def _run(self, held: ExitStack) -> End:
        try:
            place = self._streams.take_place(self._access.address, self._gateway)
            held.callback(place.close)
            return await self._serve(place)
        except ProblemError as problem:
            return _end_by(problem)
        except ClientGoneError:
            return self._ended.result() if self._ended is not None and self._ended.done() else End("left")
        except Exception:  # noqa: BLE001 - whoever carries it must know how it ended
            _log.exception("a stream failed")
            return End("failed", _internal_problem())

    async def _serve(self, place: Place) -> End:
        first = await self._admit(place)
        self._ended = asyncio.get_running_loop().create_future()
        served = self._runtime.follower.current
        known = served.manifest.id if served else None
        await self.send(self._carrier.encode(self._hello(known)))
        work = (self._read(first), self._follow(known), self._watch_idle(), self._say_goodbye())
        tasks = [asyncio.create_task(self._guard(one)) for one in work]
        try:
            return await self._ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self._items.abandon(), return_exceptions=True)

    def _hello(self, snapshot: str | None) -> Hello:
        limits = self._runtime.settings.limits
        shown = StreamLimits(limits.max_body_bytes, limits.request_seconds, self._settings.idle_seconds)
        return Hello(self._settings.window, snapshot, shown)

    # Who asks

    async def _admit(self, place: Place) -> bool:
        """Find out who asks; return whether the next message is the first one. Raises `ProblemError`."""
        is_without = self._runtime.admission.required and not self._access.credentials
        needs_key = is_without and self._waits_for_key
        if needs_key:
            self._access = replace(self._access, credentials=await self._receive_key())
        await self._prove()
        place.give_to(self._asked.payer)
        return not needs_key

    async def _receive_key(self) -> tuple[str, ...]:
        """Return the key in the first message; nothing where it has none, which admission refuses as over HTTP."""
        try:
            async with asyncio.timeout(KEY_SECONDS):
                message = await self._carrier.receive()
        except TimeoutError:
            raise ProblemError("stream_idle", f"No key came within {KEY_SECONDS:g} s: send it with `start`.") from None
        if message is None:
            raise ClientGoneError
        if not isinstance(message, Start) or message.key is None:
            return ()
        self._order = message.order
        return (message.key,)

    async def _prove(self) -> None:
        """Ask who the caller is, which counts as a request. Raises `ProblemError`."""
        await self._runtime.admission.admit(self._access, self._asked)
        self._proved_at = time.monotonic()

    async def charge(self, request: RequestContext) -> None:
        """Count a query against the caller's rate, now and then with proof that the key is still good.

        Raises `ProblemError`; without proof the stream ends.
        """
        if time.monotonic() - self._proved_at < PROOF_SECONDS:
            self._runtime.admission.charge(request, 1)
            return
        try:
            await self._prove()
        except ProblemError as problem:
            if problem.code in _ACCESS:
                self._finish(_end_by(problem))
            raise

    # What comes

    async def _read(self, is_first: bool) -> None:
        """Take messages until no more will come, and let the stream end when they are answered."""
        while (message := await self._carrier.receive()) is not None:
            self._touched = time.monotonic()
            await self._take(message, is_first=is_first)
            is_first = False
        await self._items.wait_until_none()
        self._finish(End("done"))

    async def _take(self, message: Incoming, *, is_first: bool) -> None:
        if isinstance(message, Ask):
            await self._take_query(message)
        elif isinstance(message, Cancel):
            self._items.cancel(message.id)
        elif isinstance(message, Pin):
            await self._change_pin(message.snapshot)
        else:
            self._take_start(message, is_first=is_first)

    def _take_start(self, message: Start, *, is_first: bool) -> None:
        if not is_first:
            raise ProblemError("unexpected_message", "`start` can only be the first message of a stream.")
        if message.key is not None and self._access.credentials:
            detail = "There is a key in a header and one in `start`: send one of them."
            raise ProblemError("unauthorized", detail)
        self._order = message.order

    async def _take_query(self, ask: Ask) -> None:
        """Take a query as soon as there is room for it in the window: until then, nothing more is read."""
        if ask.id in self._items:
            detail = f"The query {ask.id!r} is under way: give its id again when its answer has come."
            raise ProblemError("duplicate_id", detail)
        if self._pinned is not None and ask.fields.get("snapshot") is None:
            ask = replace(ask, fields={**ask.fields, "snapshot": self._pinned})
        request = RequestContext(gateway=self._gateway, address=self._asked.address, caller=self._asked.caller)
        item = Item(ask, request, waits=self._order == "query", is_refused=self._is_leaving)
        await self._items.take(item)

    async def _change_pin(self, snapshot: str | None) -> None:
        problem = None
        try:
            with ExitStack() as pin:
                if snapshot is not None:
                    pin.enter_context(self._runtime.follower.pin(snapshot))
                self._pin.close()  # only now: while it is pinned, no snapshot is let go
                self._pin, self._pinned = pin.pop_all(), snapshot
        except ProblemError as error:
            problem = Problem(None, error, self._asked.id)
        served = self._runtime.follower.current
        now = served.manifest.id if served else None
        await self.send(self._carrier.encode(Snapshot(now, self._pinned, problem)))

    # What goes

    def encode(self, message: Outgoing) -> Encoded[T]:
        """Return a message as it is sent."""
        return self._carrier.encode(message)

    async def send(self, message: Encoded[T], item: Item | None = None) -> None:
        """Send a message when it is its turn; an item's id is free from then on. Raises `ClientGoneError`."""
        async with self._sending:
            if item is not None:
                self._items.forget(item)
            try:
                async with asyncio.timeout(self._settings.send_seconds + message.size / BYTES_PER_SECOND):
                    await self._carrier.send(message.content)
            except TimeoutError:
                self._finish(End("slow_reader", ProblemError("stream_idle", "You do not read your answers.")))
                raise ClientGoneError from None
        self._touched = time.monotonic()

    async def _say_why(self, problem: ProblemError) -> None:
        try:
            await self.send(self._carrier.encode(Problem(None, problem, self._asked.id)))
        except ClientGoneError:
            _log.debug("nobody was left to be told why a stream ended")

    # Beside

    async def _follow(self, known: str | None) -> None:
        """Tell of each swap, the last one where there are several at a time."""
        while True:
            served = self._runtime.follower.current
            if served is not None and served.manifest.id != known:
                known = served.manifest.id
                await self.send(self._carrier.encode(Snapshot(known, self._pinned)))
                continue
            await self._runtime.follower.wait_for_swap()

    async def _watch_idle(self) -> None:
        """End a stream over which nothing has come or gone for too long."""
        limit = self._settings.idle_seconds
        while True:
            left = self._touched + limit - time.monotonic()
            if left <= 0 and not self._items.count:
                raise ProblemError("stream_idle", f"The stream was silent for {limit:g} s.")
            await asyncio.sleep(max(left, 1.0))

    async def _say_goodbye(self) -> None:
        """Before a stop, and when its time is up, finish what was taken; then end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(self._seconds) else self._seconds):
                await self._streams.stopping.wait()
        self._is_leaving = True
        await self.send(self._carrier.encode(Goaway(self._streams.finish_within)))
        try:
            async with asyncio.timeout(self._streams.finish_within):
                await asyncio.sleep(LINGER_SECONDS)
                await self._items.wait_until_none()
        except TimeoutError:
            _log.warning("a stream ends with %d queries under way", self._items.count)
        self._finish(End("stopping"))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Let what goes wrong beside end the stream, in words that its client understands."""
        try:
            await work
        except LookalikeError as error:
            self._finish(_end_by(as_problem(error)))
        except ClientGoneError:
            self._finish(End("left"))
        except Exception:  # noqa: BLE001 - whoever carries it must know how it ended
            _log.exception("a stream failed")
            self._finish(End("failed", _internal_problem()))

    def client_is_gone(self) -> None:
        """End the stream: there is nobody to answer."""
        self._finish(End("left"))

    def _finish(self, end: End) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(end)


def _end_by(problem: ProblemError) -> End:
    if problem.code == "stream_idle":
        return End("idle", problem)
    if problem.code == "internal":
        return End("failed", problem)
    is_broken = problem.code in {"bad_message", "unexpected_message", "duplicate_id", "body_too_large"}
    return End("broken" if is_broken else "refused", problem)


def _internal_problem() -> ProblemError:
    return ProblemError("internal", "The stream failed here: open another, and tell the server's operator.")
