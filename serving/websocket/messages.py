"""Messages of a stream as JSON: what clients send becomes `Incoming`, and `Outgoing` becomes what they are sent.

A picture may be in a binary frame. A query with `"frames": 2` is followed by two of them, and `{"frame": 0}` stands for
the bytes of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lookalike.serving.errors import ProblemError
from lookalike.serving.query.request import parse_json
from lookalike.serving.replies import elapsed_ms, encode, write_answer, write_problem
from lookalike.serving.stream.messages import (
    Ask,
    Cancel,
    Goaway,
    Hello,
    Hits,
    Incoming,
    Outgoing,
    Pin,
    Problem,
    Snapshot,
    Start,
    check_id,
    check_order,
    check_timeout,
)

MAX_FRAMES = 64
"""Binary frames of one query: more than one may have examples, so that too many of them can be reported."""

_FIELDS: Mapping[str, frozenset[str]] = {
    "start": frozenset({"type", "key", "order"}),
    "cancel": frozenset({"type", "id"}),
    "pin": frozenset({"type", "snapshot"}),
}
_FRAMED = ("image", "vector")
_LISTS = ("positive", "negative")


@dataclass(frozen=True, slots=True)
class FramedAsk:
    """A query, and how many binary frames belong to it."""

    ask: Ask
    frames: int


def read_message(text: str) -> Incoming | FramedAsk:
    """Return what a text frame says. Raises `ProblemError` for what nobody can answer, which ends the stream."""
    given = _parse(text)
    kind = str(given.get("type"))
    if kind == "query":
        return _read_query(given, len(text))
    if kind not in _FIELDS:
        raise _bad(f"There is no message of the type {kind[:40]!r}: send start, query, cancel or pin.")
    other = next((name for name in given if name not in _FIELDS[kind]), None)
    if other is not None:
        raise _bad(f"`{kind}` has no field {other[:100]!r}; its fields are: {', '.join(sorted(_FIELDS[kind]))}.")
    if kind == "start":
        return _read_start(given)
    if kind == "cancel":
        return Cancel(check_id(given.get("id")))
    if "snapshot" not in given:
        raise _bad("`pin` needs `snapshot`: its id, or null to follow again.")
    return Pin(_text(given, "snapshot"))


def _parse(text: str) -> dict[str, Any]:
    try:
        given = parse_json(text.encode())
    except (ProblemError, UnicodeEncodeError) as problem:
        raise _bad(str(problem).replace("The body", "The message")) from None
    if not isinstance(given, dict):
        raise _bad("A message must be an object with a `type`.")
    return given


def _read_start(given: Mapping[str, Any]) -> Start:
    return Start(_text(given, "key"), check_order(given.get("order", "ready")))


def _read_query(given: dict[str, Any], size: int) -> FramedAsk:
    item = check_id(given.pop("id", None))
    frames = given.pop("frames", 0)
    if not isinstance(frames, int) or isinstance(frames, bool) or not 0 <= frames <= MAX_FRAMES:
        raise _bad(f"`frames` must be a whole number from 0 to {MAX_FRAMES}.")
    timeout, fault = None, None
    try:
        timeout = check_timeout(given.pop("timeout", None))
    except ProblemError as problem:
        fault = problem
    del given["type"]
    return FramedAsk(Ask(item, given, timeout, size, fault), frames)


def fill_frames(ask: Ask, frames: Sequence[bytes]) -> Ask:
    """Return a query with the bytes of its frames in place of their numbers; one that is missing is its fault."""
    fill = partial(_fill, frames=frames)
    try:
        fields = fill(ask.fields)
        for name in _LISTS:
            if isinstance(fields.get(name), list):
                fields[name] = [fill(one) if isinstance(one, dict) else one for one in fields[name]]
    except ProblemError as problem:
        return replace(ask, fields={}, fault=ask.fault or problem)
    return replace(ask, fields=fields)


def _fill(example: Mapping[str, Any], frames: Sequence[bytes]) -> dict[str, Any]:
    return {name: _find(value, name, frames) if name in _FRAMED else value for name, value in example.items()}


def _find(value: Any, name: str, frames: Sequence[bytes]) -> Any:
    if not isinstance(value, dict):
        return value
    number = value.get("frame")
    if set(value) == {"frame"} and isinstance(number, int) and 0 <= number < len(frames):
        return frames[number]
    detail = f'`{name}`: there is no such frame; {len(frames)} belong to this query, and the first is {{"frame": 0}}.'
    raise ProblemError("bad_field", detail)


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _bad(f"`{name}` must be a text.")


def _bad(detail: str) -> ProblemError:
    return ProblemError("bad_message", detail)


def write_message(message: Outgoing, root: str) -> str:
    """Return a message as a text frame; `root` is the path below which this server is."""
    return encode(_write(message, root)).decode()


def _write(message: Outgoing, root: str) -> dict[str, Any]:
    if isinstance(message, Hits):
        head = {"type": "hits", "id": message.id, "snapshot": message.answer.snapshot, "request_id": message.asked.id}
        return {**head, "took_ms": elapsed_ms(message.asked), **write_answer(message.query, message.answer, root=root)}
    if isinstance(message, Problem):
        head = {} if message.id is None else {"id": message.id}
        # a problem of RFC 9457 has a `type` of its own: the address of what its code means
        return {**_write_problem(message), "type": "problem", **head}
    if isinstance(message, Hello):
        limits = {
            "message_bytes": message.limits.message_bytes,
            "request_seconds": message.limits.request_seconds,
            "idle_seconds": message.limits.idle_seconds,
        }
        return {"type": "hello", "window": message.window, "snapshot": message.snapshot, "limits": limits}
    if isinstance(message, Goaway):
        return {"type": "goaway", "finish_within": message.finish_within}
    return _write_snapshot(message)


def _write_snapshot(message: Snapshot) -> dict[str, Any]:
    written = {"type": "snapshot", "id": message.id, "pinned": message.pinned}
    return written if message.problem is None else {**written, "problem": _write_problem(message.problem)}


def _write_problem(message: Problem) -> dict[str, Any]:
    written = write_problem(message.problem, message.request_id)
    after = message.problem.retry_after
    return written if after is None else {**written, "retry_after": after}
