"""Budgets of bytes: who finds room in them, and who is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

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


@contextmanager
def eager_threads() -> Iterator[ThreadPoolExecutor]:
    """Eight threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            yield pool
    finally:
        sys.setswitchinterval(interval)


def test_queries_of_a_batch_add_to_one_share() -> None:
    budget = Budget("replies", 10**9, lambda: None)

    def work(_: int) -> None:
        for _ in range(2_000):
            share.add(1)

    with budget.share(lambda: "one caller") as share:
        with eager_threads() as pool:
            list(pool.map(work, range(8)))
        assert share.size == budget.held == 16_000


def test_threads_leave_nothing_behind() -> None:
    """Replies are counted in threads: what is lost between two of them would be missing for ever."""
    budget = Budget("replies", 10**9, lambda: None)

    def work(_: int) -> None:
        for size in range(1, 20_000):
            with budget.share(lambda: "one caller") as share:
                share.raise_to(size)

    with eager_threads() as pool:
        list(pool.map(work, range(8)))
    assert budget.held == 0
    with budget.share(lambda: "one caller") as share:
        share.raise_to(5 * 10**8)  # a caller who still holds a byte must leave as much free


def test_a_thread_that_nobody_waits_for_takes_nothing() -> None:
    budget = Budget("replies", 100, lambda: None)
    with budget.share(lambda: "a") as share:
        share.add(10)
    with pytest.raises(ProblemError) as problem:
        share.add(10)
    assert problem.value.code == "deadline_exceeded"
    assert budget.held == 0
