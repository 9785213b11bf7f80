"""The load generator, a process of its own: `python -m tests.benchmarks.serving.load PLAN.json`.

A plan names a folder of requests and says how they are sent: by so many clients, each of which sends its next request
when it has the answer to the last one (closed loop), or at so many a second at random moments, whatever has been
answered (open loop), where latency counts from the moment at which a request should have been sent. Prints one JSON
object a request.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import uvloop
from pydantic import BaseModel

OK = 200
LOST = 0
"""The status of a request whose connection broke."""


class Plan(BaseModel):
    """What to send: `requests` is a folder of whole HTTP requests, a file each; with `rate` (a second) in open loop."""

    host: str
    port: int
    requests: Path
    seconds: float
    warm_up: float = 2.0
    clients: int = 1
    rate: float | None = None
    read: Literal["nothing", "hits"] = "nothing"


class Reply(BaseModel):
    """One answer: when it was due (Unix time), seconds it took, its status, and where `hits` are read what they say.

    What warms a server up counts only for what the server uses.
    """

    warms_up: bool = False
    due: float
    seconds: float
    status: int
    snapshot: str | None = None
    generations: list[str] = []


class Connection:
    """One keep-alive connection that is opened again when it broke."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body. `LOST` and nothing where the connection broke.

        A connection that the server had closed while it was idle is opened anew, once, as every HTTP client does.
        """
        reused = self._streams is not None
        try:
            return await self._sent(request)
        except asyncio.IncompleteReadError as error:
            self.close()
            return await self.exchange(request) if reused and not error.partial else (LOST, b"")
        except (OSError, ValueError):
            self.close()
            return await self.exchange(request) if reused else (LOST, b"")

    async def _sent(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._plan.host, self._plan.port, limit=2**20)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Open a new connection next time."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Load:
    """Sends what a plan says."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.replies: list[Reply] = []
        bodies = [path.read_bytes() for path in sorted(plan.requests.iterdir())]
        self._requests: Iterator[bytes] = itertools.cycle(bodies)
        self._idle: list[Connection] = []

    async def run(self) -> None:
        """Send until the time is over, and wait for all answers."""
        start = time.time()
        self._counts_from = start + self.plan.warm_up
        self._ends = self._counts_from + self.plan.seconds
        if self.plan.rate is None:
            await asyncio.gather(*(self._client() for _ in range(self.plan.clients)))
        else:
            await self._arrivals(self.plan.rate)

    async def _client(self) -> None:
        connection = Connection(self.plan)
        while (now := time.time()) < self._ends:
            await self._one(connection, now)
        connection.close()

    async def _arrivals(self, rate: float) -> None:
        due, tasks = time.time(), set[asyncio.Task[None]]()
        while due < self._ends:
            due += random.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.time()))
            task = asyncio.create_task(self._arrival(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _arrival(self, due: float) -> None:
        connection = self._idle.pop() if self._idle else Connection(self.plan)
        await self._one(connection, due)
        self._idle.append(connection)

    async def _one(self, connection: Connection, due: float) -> None:
        status, body = await connection.exchange(next(self._requests))
        seconds = time.time() - due
        warms_up = due < self._counts_from
        read = {} if warms_up else self._read(status, body)
        self.replies.append(Reply(warms_up=warms_up, due=due, seconds=seconds, status=status, **read))

    def _read(self, status: int, body: bytes) -> dict[str, Any]:
        if self.plan.read == "nothing" or status != OK:
            return {}
        found = json.loads(body)
        generations = {str(hit["attributes"].get("generation")) for hit in found["hits"]}
        return {"snapshot": found["snapshot"], "generations": sorted(generations)}


def main() -> None:
    """Send, then tell."""
    load = Load(Plan.model_validate_json(Path(sys.argv[1]).read_bytes()))
    uvloop.run(load.run())
    for reply in load.replies:
        sys.stdout.write(reply.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
