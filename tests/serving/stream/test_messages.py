"""Ids and timeouts, as clients may send them."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike.serving.errors import ProblemError
from lookalike.serving.stream.messages import check_id, check_timeout


@pytest.mark.parametrize("given", ["a", "ä" * 128, 0, -7, 2**53 - 1])
def test_ids(given: Any) -> None:
    assert check_id(given) == given


@pytest.mark.parametrize("given", ["", "a" * 129, None, True, 1.5, 2**53, [], {}])
def test_what_is_no_id(given: Any) -> None:
    with pytest.raises(ProblemError) as problem:
        check_id(given)
    assert problem.value.code == "bad_message"


def test_timeouts() -> None:
    assert check_timeout(None) is None
    assert check_timeout(2) == 2.0
    refused: list[Any] = [0, -1, True, "2", float("nan"), float("inf"), []]
    for given in refused:
        with pytest.raises(ProblemError) as problem:
            check_timeout(given)
        assert problem.value.code == "bad_field"
