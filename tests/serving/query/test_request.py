"""Queries as gateways hand them over: what JSON writes as text may be bytes."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from lookalike.serving.errors import ProblemError
from lookalike.serving.query.query import EncoderVector, Picture
from lookalike.serving.query.request import MAX_VECTOR, read_query, read_search
from lookalike.serving.settings import Limits

LIMITS = Limits()


def test_bytes_are_the_same_picture_as_base64() -> None:
    encoded = base64.b64encode(b"picture").decode()
    assert read_search({"image": b"picture"}, LIMITS).positive == (Picture(b"picture"),)
    assert read_search({"image": encoded}, LIMITS).positive == (Picture(b"picture"),)


def test_packed_numbers_are_the_same_vector_as_a_list() -> None:
    numbers = np.array([0.5, -1.25, 3.0], dtype="<f4")
    (packed,) = read_search({"vector": numbers.tobytes()}, LIMITS).positive
    (listed,) = read_search({"vector": numbers.tolist()}, LIMITS).positive
    assert isinstance(packed, EncoderVector)
    assert isinstance(listed, EncoderVector)
    assert packed.vector.tolist() == listed.vector.tolist() == [0.5, -1.25, 3.0]


@pytest.mark.parametrize("packed", [b"\0\0\0", b"\0" * 4 * (MAX_VECTOR + 1)], ids=["a part of a number", "too many"])
def test_packed_numbers_of_another_length_are_refused(packed: bytes) -> None:
    with pytest.raises(ProblemError, match="send 4 for each number") as caught:
        read_search({"vector": packed}, LIMITS)
    assert caught.value.code == "bad_field"


@pytest.mark.parametrize(("body", "said"), [(b'{"vector": "AAAA"}', "`vector`"), (b'{"image": [1]}', "`image`")])
def test_json_has_no_other_way_to_write_them(body: bytes, said: str) -> None:
    with pytest.raises(ProblemError, match=said) as caught:
        read_query(body, LIMITS)
    assert caught.value.code == "bad_field"
