"""What no client should send: each parser of messages answers it with a problem, and with nothing else.

`python -m tests.benchmarks.fuzz_messages` sends the same to a real server, for as long as one likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from graphql import build_schema

from lookalike.serving.errors import ProblemError
from lookalike.serving.graphql.document import read_question
from lookalike.serving.graphql.plan import make_plan
from lookalike.serving.graphql.schema import make_schema
from lookalike.serving.grpc import messages as protobuf
from lookalike.serving.grpc.methods import SERVICE
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.requests import parse, read_fields
from lookalike.serving.query.request import read_search
from lookalike.serving.settings import Graphql, Limits
from lookalike.serving.stream.messages import Ask
from lookalike.serving.websocket import messages as json_messages
from lookalike.serving.websocket.messages import FramedAsk, fill_frames
from tests.support.message_mutations import call_message, operation, socket_messages, stream_messages

LIMITS = Limits()
RULES = build_schema(make_schema().as_str())


@contextmanager
def _counted(refusals: list[str]) -> Iterator[None]:
    try:
        yield
    except ProblemError as problem:
        refusals.append(problem.code)


def read_socket(seed: int, refusals: list[str]) -> None:
    sent = socket_messages(seed)
    frames = [one for one in sent if isinstance(one, bytes)]
    for text in (one for one in sent if isinstance(one, str)):
        with _counted(refusals):
            found = json_messages.read_message(text)
            if isinstance(found, FramedAsk):
                ask = fill_frames(found.ask, frames[: found.frames])
                read_search(ask.fields, LIMITS)


def read_stream(seed: int, refusals: list[str]) -> None:
    for data in stream_messages(seed):
        with _counted(refusals):
            found = protobuf.read_message(data)
            if isinstance(found, Ask):
                read_search(found.fields, LIMITS)


def read_call(seed: int, refusals: list[str]) -> None:
    name, data = call_message(seed)
    with _counted(refusals):
        fields = read_fields(asyncio.run(parse(pb.SearchRequest, data)))
        if name == f"/{SERVICE}/Search":
            read_search(fields, LIMITS)


def read_operation(seed: int, refusals: list[str]) -> None:
    with _counted(refusals):
        make_plan(RULES, read_question(operation(seed), Graphql()), Graphql(), LIMITS)


@pytest.mark.parametrize("read", [read_socket, read_stream, read_call, read_operation])
def test_what_is_refused_is_refused_with_a_problem(read: Callable[[int, list[str]], None]) -> None:
    refusals: list[str] = []
    for seed in range(300):
        read(seed, refusals)
    assert len(refusals) > 50
    assert "internal" not in refusals
