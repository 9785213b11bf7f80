"""Messages of a stream as Protocol Buffers: what is a fault of a query, and what of the stream."""

from __future__ import annotations

import pytest

from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.messages import read_message
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.stream.messages import Ask, Cancel, Pin, Start

UNKNOWN = b"\xa0\x06\x01"
"""Field 100, which no message has."""


def asked(query: pb.StreamQuery) -> Ask:
    found = read_message(pb.StreamRequest(query=query).SerializeToString())
    assert isinstance(found, Ask)
    return found


def test_each_kind_of_message() -> None:
    assert read_message(pb.StreamRequest(start=pb.StreamStart()).SerializeToString()) == Start(None, "ready")
    assert read_message(pb.StreamRequest(start=pb.StreamStart(order="query")).SerializeToString()) == Start(
        None, "query"
    )
    assert read_message(pb.StreamRequest(cancel=pb.StreamCancel(id="a")).SerializeToString()) == Cancel("a")
    assert read_message(pb.StreamRequest(pin=pb.StreamPin(snapshot="s")).SerializeToString()) == Pin("s")
    assert read_message(pb.StreamRequest(pin=pb.StreamPin()).SerializeToString()) == Pin(None)
    found = asked(pb.StreamQuery(id="q", query=pb.SearchRequest(image=b"picture", k=3), timeout=2))
    assert (found.id, found.fields, found.timeout, found.fault) == ("q", {"image": b"picture", "k": 3}, 2.0, None)
    assert found.size > len(b"picture")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff",
        UNKNOWN,
        pb.StreamRequest(query=pb.StreamQuery(query=pb.SearchRequest(k=1))).SerializeToString(),
        pb.StreamRequest(query=pb.StreamQuery(id="x" * 129)).SerializeToString(),
        pb.StreamRequest(query=pb.StreamQuery(id="q")).SerializeToString() + UNKNOWN,
        pb.StreamRequest(start=pb.StreamStart.FromString(UNKNOWN)).SerializeToString(),
        pb.StreamRequest(start=pb.StreamStart(order="any")).SerializeToString(),
        pb.StreamRequest(cancel=pb.StreamCancel()).SerializeToString(),
    ],
)
def test_what_nobody_can_answer(data: bytes) -> None:
    with pytest.raises(ProblemError) as problem:
        read_message(data)
    assert problem.value.code == "bad_message"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (pb.StreamQuery(timeout=-1), "bad_field"),
        (pb.StreamQuery(timeout=float("nan")), "bad_field"),
        (pb.StreamQuery.FromString(UNKNOWN), "unknown_field"),
        (pb.StreamQuery(query=pb.SearchRequest.FromString(UNKNOWN)), "unknown_field"),
        (pb.StreamQuery(query=pb.SearchRequest(filter=[pb.Filter()])), "bad_filter"),
    ],
)
def test_what_is_wrong_with_one_query(query: pb.StreamQuery, code: str) -> None:
    query.id = "q"
    fault = asked(query).fault
    assert fault is not None
    assert fault.code == code
