"""Budgets of bytes: who finds room in them, and who is refused."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from lookalike.serving.budget import Budget, Share
from lookalike.serving.errors import ProblemError


class Desk:
    """A budget of 100 bytes with callers at it."""

    def __init__(self, stack: ExitStack) -> None:
        self.refusals = 0
        self.budget = Budget("bodies", 100, self._count)
        self._stack = stack

    def share(self, caller: str) -> Share:
        return self._stack.enter_context(self.budget.share(lambda: caller))

    def fits(self, caller: str, size: int) -> bool:
        try:
            self.share(caller).raise_to(size)
        except ProblemError:
            return False
        return True

    def _count(self) -> None:
        self.refusals += 1


def test_whoever_takes_leaves_as_much_free() -> None:
    with ExitStack() as stack:
        desk = Desk(stack)
        assert [desk.fits(f"caller {number}", 20) for number in range(6)] == [True] * 4 + [False] * 2
        assert desk.budget.held == 80
        assert desk.fits("small", 10)
        assert not desk.fits("larger", 6)
        assert desk.fits("smaller", 5)
        assert desk.refusals == 3
    assert desk.budget.held == 0


def test_one_caller_holds_half_and_others_find_room() -> None:
    with ExitStack() as stack:
        desk = Desk(stack)
        assert [desk.fits("a", 10) for _ in range(6)] == [True] * 4 + [False] * 2
        assert desk.fits("b", 10)


def test_who_is_alone_finds_room_for_any_size() -> None:
    with ExitStack() as stack:
        desk = Desk(stack)
        assert desk.fits("a", 500)
        assert not desk.fits("b", 1)
    assert desk.budget.held == 0


def test_a_share_grows_by_parts_and_comes_back_whole() -> None:
    desk = Desk(ExitStack())
    with desk.budget.share(lambda: "a") as one, desk.budget.share(lambda: "a") as other:
        one.add(10)
        one.raise_to(5)
        one.add(10)
        assert (one.size, desk.budget.held) == (20, 20)
        other.add(10)
        with pytest.raises(ProblemError) as found:
            one.add(15)
        assert (found.value.code, found.value.retry_after) == ("overloaded", 1)
        assert (one.size, desk.budget.held) == (20, 30)
    assert desk.budget.held == 0
    assert not desk.budget._callers
