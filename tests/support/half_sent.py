"""A client of gRPC that sends messages piece by piece, as far as the server's windows allow."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset

PIECE = 16_384
LOOK_SECONDS = 0.05


class RawCalls:
    """One connection, on which calls are begun and fed."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(LOOK_SECONDS)
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._flush()
        self.ended: set[int] = set()
        """Calls that the server has ended."""
        self.is_closed = False

    def begin(self, path: str, metadata: Mapping[str, str] | None = None) -> int:
        """Begin a call; return its number."""
        call = self._h2.get_next_available_stream_id()
        fields = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
            "te": "trailers", "content-type": "application/grpc", **(metadata or {}),
        }  # fmt: skip
        self._h2.send_headers(call, list(fields.items()))
        self._flush()
        return call

    def begin_message(self, call: int, size: int, seconds: float = 0.2) -> None:
        """Say how large the next message is, where the server takes that in time."""
        self._send(call, b"\x00" + struct.pack(">I", size), seconds)

    def ask(self, path: str, message: bytes) -> None:
        """Send a whole call; what comes back is not read unless `listen` is called."""
        call = self.begin(path)
        self._send(call, b"\x00" + struct.pack(">I", len(message)) + message, LOOK_SECONDS)
        self._h2.end_stream(call)
        self._flush()

    def feed(self, call: int, size: int, seconds: float = 1.0) -> int:
        """Send so many bytes of a message, as far as the server lets them come in time; return how many."""
        return self._send(call, bytes(size), seconds)

    def listen(self) -> None:
        """Take what the server sent, if anything comes soon."""
        try:
            data = self._socket.recv(2**16)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return
        for event in self._h2.receive_data(data):
            if isinstance(event, StreamEnded | StreamReset):
                self.ended.add(event.stream_id)
            elif isinstance(event, DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                self.is_closed = True
        self._flush()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _send(self, call: int, data: bytes, seconds: float) -> int:
        sent, end = 0, time.monotonic() + seconds
        while sent < len(data) and time.monotonic() < end and call not in self.ended and not self.is_closed:
            room = min(self._h2.local_flow_control_window(call), PIECE)
            if room <= 0:
                self.listen()
                continue
            self._h2.send_data(call, data[sent : sent + room])
            self._flush()
            sent += room
        return min(sent, len(data))

    def _flush(self) -> None:
        try:
            self._socket.sendall(self._h2.data_to_send())
        except OSError:
            self.is_closed = True
