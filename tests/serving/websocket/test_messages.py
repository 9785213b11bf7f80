"""Messages as JSON: what is read, what ends the stream, and what ends only its query."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.request import read_search
from lookalike.serving.settings import Limits
from lookalike.serving.stream.messages import Ask, Cancel, Pin, Start
from lookalike.serving.websocket.messages import FramedAsk, fill_frames, read_message


def test_what_clients_say() -> None:
    assert read_message('{"type": "start"}') == Start()
    assert read_message('{"type": "start", "key": "k", "order": "query"}') == Start("k", "query")
    assert read_message('{"type": "cancel", "id": 7}') == Cancel(7)
    assert read_message('{"type": "pin", "snapshot": "s"}') == Pin("s")
    assert read_message('{"type": "pin", "snapshot": null}') == Pin(None)
    text = '{"type": "query", "id": "q", "timeout": 2, "frames": 1, "image": {"frame": 0}, "k": 3}'
    assert read_message(text) == FramedAsk(Ask("q", {"image": {"frame": 0}, "k": 3}, 2.0, len(text)), 1)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "7", "[]", '"query"', "{}", '{"type": "hello"}', '{"type": []}', '{"type": "query"}',
        '{"type": "query", "id": 1.5}', '{"type": "query", "id": 1, "frames": -1}',
        '{"type": "query", "id": 1, "frames": 65}', '{"type": "query", "id": 1, "frames": true}',
        '{"type": "cancel"}', '{"type": "cancel", "id": 1, "why": "no"}', '{"type": "pin"}',
        '{"type": "pin", "snapshot": 1}', '{"type": "start", "order": "any"}', '{"type": "start", "order": []}',
        '{"type": "start", "key": 1}', '{"type": "query", "id": "\\ud800"}', "[" * 2000, "[0" + ",0" * 1_000_001 + "]",
    ],
)  # fmt: skip
def test_what_cannot_be_answered_ends_the_stream(text: str) -> None:
    with pytest.raises(ProblemError) as problem:
        read_message(text)
    assert problem.value.code == "bad_message"
    assert "The body" not in str(problem.value)


def test_a_wrong_timeout_ends_the_query_only() -> None:
    found = read_message('{"type": "query", "id": 1, "timeout": "soon", "product_id": "a"}')
    assert isinstance(found, FramedAsk)
    assert found.ask.fault is not None
    assert found.ask.fault.code == "bad_field"


def test_frames_take_the_place_of_their_numbers() -> None:
    fields = {
        "positive": [{"image": {"frame": 1}, "crop": [0, 0, 1, 1]}, {"vector": {"frame": 0}}],
        "negative": [{"product_id": "a"}],
    }
    filled = fill_frames(Ask(1, fields), [b"\0\0\x80\x3f", b"picture"])
    assert filled.fields == {
        "positive": [{"image": b"picture", "crop": [0, 0, 1, 1]}, {"vector": b"\0\0\x80\x3f"}],
        "negative": [{"product_id": "a"}],
    }
    assert read_search(filled.fields, Limits()).pictures == 1


@pytest.mark.parametrize("image", [{"frame": 1}, {"frame": -1}, {"frame": "0"}, {}, {"frame": 0, "more": 1}])
def test_a_frame_that_is_not_there_ends_the_query(image: Any) -> None:
    filled = fill_frames(Ask(1, {"image": image}), [b"one"])
    assert filled.fault is not None
    assert filled.fault.code == "bad_field"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["type", "id", "key", "order", "snapshot", "timeout", "frames", "image", "vector", "positive", "negative", "k"]
)
TYPES = st.sampled_from(["start", "query", "cancel", "pin", "goaway"])


def outcome(text: str) -> str:
    """Read a message as the carrier and the session do; return the code of its problem, if it has one."""
    try:
        found = read_message(text)
        if isinstance(found, FramedAsk):
            ask = fill_frames(found.ask, [b"frame"] * found.frames)
            if ask.fault is None:
                read_search(ask.fields, Limits())
    except ProblemError as problem:
        return problem.code
    return "read"


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES | st.text(max_size=5), VALUES | TYPES | st.just({"frame": 0}), max_size=8))
def test_any_object_has_an_answer(message: dict[str, Any]) -> None:
    assert outcome(json.dumps(message)) in {"read", *ERROR_CODES}


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    assert outcome(text) in {"read", *ERROR_CODES}
