"""Arrays in one file that is mapped into memory: opening the file reads no value of them.

Each array is an Arrow stream of one column. A directory of the streams, as JSON, ends the file. So arrays of different
lengths fit into one file, and each of them is made, and written, on its own.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.mapped.pages import read_single_pages

_MAGIC = b"LOOKALIKE-ARRAYS"
_END = struct.Struct(f"<Q{len(_MAGIC)}s")  # bytes of the directory, then the magic
_ALIGNED = 64  # bytes: where a stream begins, so that numpy sees its numbers in their places


class ArrayWriter:
    """Writes named arrays into a sink, one after the other; `close` makes them readable."""

    def __init__(self, sink: pa.NativeFile) -> None:
        self._sink = sink
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, name: str, array: pa.Array) -> None:
        """Write one array; text may be dictionary-encoded."""
        self._sink.write(bytes(-self._sink.tell() % _ALIGNED))
        start = self._sink.tell()
        batch = pa.record_batch([array], names=["values"])
        with pa.ipc.new_stream(self._sink, batch.schema) as stream:
            stream.write_batch(batch)
        self._places[name] = start, self._sink.tell() - start

    def close(self) -> None:
        """Write the directory."""
        directory = json.dumps(self._places).encode()
        self._sink.write(directory)
        self._sink.write(_END.pack(len(directory), _MAGIC))


class Arrays(Mapping[str, pa.Array]):
    """The arrays of such a file; each is looked at when it is asked for. Raises `CorruptError` for other files.

    The contents are trusted: who opens a file from a disk has checked its bytes.
    """

    def __init__(self, buffer: pa.Buffer) -> None:
        self._buffer = buffer
        self._places = _read_directory(buffer)

    @classmethod
    def map(cls, file: Path) -> Arrays:
        """Map a file into memory."""
        try:
            with pa.memory_map(str(file)) as mapped:
                buffer = mapped.read_buffer()
        except (OSError, pa.ArrowException) as error:
            raise CorruptError(f"{file.name} cannot be mapped: {error}") from error
        read_single_pages(buffer)
        return cls(buffer)

    def __getitem__(self, name: str) -> pa.Array:
        start, size = self._places[name]
        with pa.ipc.open_stream(self._buffer.slice(start, size)) as stream:
            return stream.read_next_batch().column(0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _read_directory(buffer: pa.Buffer) -> dict[str, tuple[int, int]]:
    tail = memoryview(buffer)
    if len(tail) < _END.size:
        raise CorruptError(f"{len(tail)} bytes are no file of arrays")
    size, magic = _END.unpack(tail[-_END.size :])
    if magic != _MAGIC or size > len(tail) - _END.size:
        raise CorruptError("this is no file of arrays, or its end is missing")
    places: dict[str, tuple[int, int]] = json.loads(bytes(tail[-_END.size - size : -_END.size]))
    return places
