"""The parts of a message are counted before it is parsed: small messages can be large in memory."""

from __future__ import annotations

import asyncio

import pytest

from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.requests import MANY_PARTS, MAX_PARTS, parse
from lookalike.serving.grpc.wire import has_parts

GROUP = b"\x0b"
"""The start of a group, which no message has."""


def test_parts_of_parts_are_counted() -> None:
    examples = pb.SearchRequest(positive=[pb.Example()] * 50)
    assert has_parts(pb.SearchRequest, examples.SerializeToString(), 49)
    assert not has_parts(pb.SearchRequest, examples.SerializeToString(), 50)
    batch = pb.SearchBatchRequest(queries=[examples, examples]).SerializeToString()
    assert has_parts(pb.SearchBatchRequest, batch, 101)
    assert not has_parts(pb.SearchBatchRequest, batch, 102)
    assert has_parts(pb.SearchRequest, GROUP + examples.SerializeToString(), 49)


def test_bytes_are_one_part() -> None:
    packed = pb.Vector(values=[1.0] * 10_000, packed=bytes(10_000))
    data = pb.SearchRequest(image=examples(5000), vector=packed).SerializeToString()
    assert not has_parts(pb.SearchRequest, data, 4)


def examples(count: int) -> bytes:
    return pb.SearchRequest(positive=[pb.Example()] * count).SerializeToString()


@pytest.mark.parametrize("data", [b"\x80" * 10_000, b"\x0a\xff\xff\xff\xff\x0f" * 1000, b"\xff" * 10_000])
def test_what_is_no_message_is_counted_in_no_time(data: bytes) -> None:
    assert has_parts(pb.SearchRequest, data, 10) in {True, False}


def test_a_message_of_too_many_parts_is_not_parsed() -> None:
    with pytest.raises(ProblemError) as problem:
        asyncio.run(parse(pb.SearchRequest, examples(MAX_PARTS + 1)))
    assert problem.value.code == "body_too_large"
    assert len(asyncio.run(parse(pb.SearchRequest, examples(MANY_PARTS + 1))).positive) == MANY_PARTS + 1
