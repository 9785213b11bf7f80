"""Send mutated messages to a real server: `python -m tests.benchmarks.fuzz_messages grpc --seconds 600`.

Gateways are `websocket`, `grpc` (calls and streams) and `graphql`. Behind each case goes a good query. A case fails
where that has no answer though its connection is open, where anything ends with `internal`, or where nothing comes in
30 s. `--seed` is the first of as many seeds as there are cases; `--only` sends that one. It ends with an error where a
case fails, where memory or descriptors grow, where the log has a traceback, or where the server ends.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.grpc.methods import SERVICE
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from tests.benchmarks.fuzz import Findings, broken, report, watch
from tests.support.message_mutations import call_message, operation, socket_messages, stream_messages
from tests.support.mutations import Case
from tests.support.processes import Server, server
from tests.support.shop import Shop

GOOD = "the good one"
_JSON = {"content-type": "application/json"}
SECONDS = 30
THREADS = 3
_BAD = frozenset({"internal", "INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "silence"})
"""What no case may end with."""


class SocketSender:
    """Sends over a WebSocket, a new one where the last was closed."""

    def __init__(self, running: Server, _: int) -> None:
        self._address = f"ws://127.0.0.1:{running.port}/v1/stream"
        self._socket: ClientConnection | None = None

    def send(self, seed: int) -> str:
        if self._socket is None:
            self._socket = connect(self._address, compression=None, max_size=None, proxy=None)
            self._socket.recv(timeout=SECONDS)
        good = json.dumps({"type": "query", "id": GOOD, "product_id": "a", "k": 1})
        try:
            for message in (*socket_messages(seed), good):
                self._socket.send(message)
            return self._read(self._socket)
        except ConnectionClosed as closed:
            self._socket = None
            return f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "hung up on"
        except TimeoutError:
            return "silence"

    def _read(self, socket: ClientConnection) -> str:
        """Return the codes of what comes until the good query is answered."""
        codes = set[str]()
        while True:
            message: Mapping[str, Any] = json.loads(socket.recv(timeout=SECONDS))
            if message.get("id") == GOOD:
                return "answered" if message["type"] == "hits" and "internal" not in codes else "internal"
            codes.add(message.get("code", message["type"]))


class CallSender:
    """Sends over gRPC: every other case is a stream."""

    def __init__(self, _: Server, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def send(self, seed: int) -> str:
        try:
            if seed % 2:
                name, data = call_message(seed)
                call: Any = self._channel.unary_unary(name)
                call(data, timeout=SECONDS)
                return "answered"
            return self._stream(seed)
        except grpc.RpcError as error:
            return _name_error(error)

    def _stream(self, seed: int) -> str:
        query = pb.StreamQuery(id=GOOD, query=pb.SearchRequest(product_id="a", k=1))
        good = pb.StreamRequest(query=query).SerializeToString()
        ended = threading.Event()

        def messages() -> Iterator[bytes]:
            yield from (*stream_messages(seed), good)
            ended.wait(SECONDS)

        call: Any = self._channel.stream_stream(f"/{SERVICE}/Stream")
        try:
            for data in call(messages(), timeout=SECONDS):
                message = pb.StreamResponse.FromString(data)
                if message.problem.problem.code == "internal":
                    return "internal"
                if message.hits.id == GOOD:
                    return "answered"
        finally:
            ended.set()
        return "silence"


class OperationSender:
    """Sends operations of GraphQL."""

    def __init__(self, running: Server, _: int) -> None:
        self._http = httpx.Client(base_url=running.url, timeout=SECONDS)

    def send(self, seed: int) -> str:
        try:
            response = self._http.post(
                "/graphql", content=operation(seed), headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            return f"silence {error!r}"
        reply = response.json()
        codes = sorted({error["extensions"]["code"] for error in reply.get("errors", ())})
        return "internal" if "internal" in codes else " ".join((str(response.status_code), *codes))


SENDERS: Mapping[str, Callable[[Server, int], Any]] = {
    "websocket": SocketSender,
    "grpc": CallSender,
    "graphql": OperationSender,
}


def _name_error(error: grpc.RpcError) -> str:
    assert isinstance(error, grpc.Call)
    status, info = rpc_status.from_call(error), ErrorInfo()
    if status is not None and status.details and status.details[0].Unpack(info):
        return str(info.reason)
    return str(error.code().name)


def fuzz(running: Server, port: int, gateway: str, seeds: Iterator[int], seconds: float) -> Findings:
    """Send cases until the time is over or the seeds are; watch the server meanwhile."""
    findings, lock, start = Findings(), threading.Lock(), time.monotonic()

    def send() -> None:
        sender = SENDERS[gateway](running, port)
        while time.monotonic() - start < seconds:
            with lock:
                seed = next(seeds, None)
            if seed is None:
                return
            began = time.monotonic()
            found = sender.send(seed)
            with lock:
                status = 500 if found.split(" ")[0] in _BAD else 200
                findings.add(Case(seed, gateway, b""), status, found, time.monotonic() - began)

    return watch(running, send, THREADS, findings, lock)


def main() -> None:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gateway", choices=SENDERS)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    seeds = itertools.count(options.seed) if options.only is None else iter((options.only,))
    with tempfile.TemporaryDirectory(prefix="lookalike-fuzz-") as name:
        folder, port = Path(name), free_port()
        Shop(LocalStore(folder / "store"), folder).publish(24)
        on = {f"LOOKALIKE_{name}__ENABLED": "true" for name in ("STREAM", "GRAPHQL")}
        with server(folder, LOOKALIKE_GRPC__PORT=str(port), **on) as running:
            running.wait(lambda state: state["ready"])
            findings = fuzz(running, port, options.gateway, seeds, options.seconds)
            problems = broken(findings, THREADS)
            if running.process.poll() is not None:
                problems.append(f"the server ended with {running.process.returncode}")
            if "Traceback" in running.log:
                problems.append(running.log[running.log.index("Traceback") :][:3000])
    sys.stdout.write(f"{report(findings)}\n")
    sys.exit("\n".join(itertools.islice(problems, 20)) or 0)


if __name__ == "__main__":
    main()
