"""Protocol Buffers as they are sent: how many parts a message has, before it is parsed."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

_VARINT, _BYTES = 0, 2
_SIZES = {1: 8, 5: 4}
"""Bytes of other kinds of fields."""
_MAX_VARINT = 10
_LEAST_PART = 2
"""Bytes of the smallest field."""


def has_parts(kind: type[Message], data: bytes, most: int) -> bool:
    """Tell whether a message has more than so many fields, with those of the messages in it.

    What is no message of this kind is for the parser to find: it is only counted up to there.
    """
    if len(data) <= _LEAST_PART * most:
        return False
    left = most
    waiting = [(kind.DESCRIPTOR, memoryview(data))]
    while waiting:
        descriptor, piece = waiting.pop()
        for number, inner in _fields(piece):
            left -= 1
            if left < 0:
                return True
            field = descriptor.fields_by_number.get(number)
            if inner is not None and field is not None and field.message_type is not None:
                waiting.append((field.message_type, inner))
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yield the number of each field, with its bytes where it has a length; the parts of a group are taken for ours."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        kind, inner = tag & 7, None
        if kind == _VARINT:
            _, place = _varint(data, place)
        elif kind == _BYTES:
            size, place = _varint(data, place)
            inner = data[place : place + size]
            place += size
        else:
            place += _SIZES.get(kind, 0)
        yield tag >> 3, inner


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it; the end of the data where there is none."""
    value = 0
    for shift, byte in enumerate(data[place : place + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    return value, len(data)
