"""What clients send: bytes to messages, and messages to the objects that are read for all gateways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from lookalike.serving.background import in_thread
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.wire import has_parts

M = TypeVar("M", bound=Message)
T = TypeVar("T")

MAX_PARTS = 100_000
"""Fields of a message with those of all messages in it. Two bytes can be one, and it takes a hundred in memory."""
MANY_PARTS = 2000
"""From here on a message is read in a thread."""

_TEXTS = ("string_value", "date_value", "datetime_value", "time_value")
_NUMBERS = ("bool_value", "int_value", "uint_value", "double_value")


async def parse(kind: type[M], data: bytes) -> M:
    """Return the message in some bytes, with no field that is not known. Raises `ProblemError`."""

    def work() -> M:
        message = decode(kind, data)
        refuse_unknown(message)
        return message

    return await read_beside(kind, data, work)


async def read_beside(kind: type[Message], data: bytes, work: Callable[[], T]) -> T:
    """Do what reads a message; in a thread where it has so many parts that other queries would notice."""
    if has_parts(kind, data, MANY_PARTS):
        return await in_thread(work, name="parse message")
    return work()


def decode(kind: type[M], data: bytes) -> M:
    """Return the message in some bytes. Raises `ProblemError`, before it is parsed where it holds too much."""
    if has_parts(kind, data, MAX_PARTS):
        detail = f"The message has more than {MAX_PARTS:,} parts: send shorter lists, or several messages."
        raise ProblemError("body_too_large", detail)
    try:
        return kind.FromString(data)
    except (DecodeError, ValueError, RecursionError):
        detail = f"This is no {kind.DESCRIPTOR.name} that can be read: look at your copy of lookalike.proto."
        raise ProblemError("bad_field", detail) from None


def refuse_unknown(message: Message) -> None:
    """Raise `ProblemError` for a field that this server does not know: a filter left out would give wrong hits."""
    unknown = UnknownFieldSet(message)
    if len(unknown):
        detail = (
            f"`{message.DESCRIPTOR.name}` has no field of number {unknown[0].field_number}: this server is older than "
            "your copy of lookalike.proto, or the message is another one."
        )
        raise ProblemError("unknown_field", detail)
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else (value,):
            refuse_unknown(part)


def read_fields(message: Message) -> dict[str, Any]:
    """Return the fields that are set, as `SearchRequest` and its parts are read."""
    return {field.name: _READERS.get(field.name, _keep)(value) for field, value in message.ListFields()}


def _keep(value: Any) -> Any:
    return value


def _read_vector(vector: pb.Vector) -> bytes:
    """Return a vector as bytes in either form: numbers need not be looked at one by one."""
    if vector.HasField("packed") and vector.values:
        raise ProblemError("bad_field", "`vector` has `values` and `packed`: send one of them.")
    return vector.packed if vector.HasField("packed") else np.asarray(vector.values, "<f4").tobytes()


def _read_filter(given: pb.Filter) -> Any:
    form = given.WhichOneof("form")
    if form is None:
        raise ProblemError("bad_filter", "A filter is empty: set `text` or `condition`.")
    if form == "text":
        return given.text
    condition = given.condition
    fields: dict[str, Any] = {"attribute": condition.attribute}
    if condition.HasField("operator"):
        fields["operator"] = condition.operator
    if condition.HasField("value"):
        fields["value"] = _read_value(condition.value)
    return fields


def _read_value(value: pb.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind in _TEXTS or kind in _NUMBERS:
        return getattr(value, kind)
    if kind == "list_value":
        return [_read_value(one) for one in value.list_value.values]
    if kind in {"null_value", None}:
        return None
    raise ProblemError("bad_filter", f"The value of a filter is a `{kind}`: send a text, a number or a list of them.")


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "vector": _read_vector,
    "crop": lambda crop: [crop.left, crop.top, crop.right, crop.bottom],
    "positive": lambda examples: [read_fields(example) for example in examples],
    "negative": lambda examples: [read_fields(example) for example in examples],
    "images": lambda images: [read_fields(image) for image in images],
    "filter": lambda filters: [_read_filter(one) for one in filters],
    "facets": list,
    "weights": dict,
    "fields": list,
}
