"""Trying again: how long it waits, how often, and for what."""

from __future__ import annotations

import logging
import time

import pytest

from lookalike.data.errors import NotFoundError, StoreUnavailableError
from lookalike.data.stores import retry
from lookalike.data.stores.retry import ATTEMPTS, Backoff, retry_while_unavailable


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(2.0, longest=60.0, jitter=0.0)
    assert [backoff.seconds(failures) for failures in (1, 2, 3, 5, 6, 10_000)] == [2.0, 4.0, 8.0, 32.0, 60.0, 60.0]


def test_chance_spreads_pauses_within_its_bounds() -> None:
    pauses = {Backoff(2.0, jitter=0.5).seconds(2) for _ in range(200)}
    assert len(pauses) > 100
    assert 2.0 <= min(pauses) < 3.0 < max(pauses) <= 6.0


def test_a_store_that_is_away_is_asked_a_few_times_with_growing_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(retry, "BACKOFF", Backoff(0.2, jitter=0.0))

    def away() -> None:
        raise StoreUnavailableError("the store does not answer")

    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailableError):
        retry_while_unavailable(away)
    assert slept == [0.2, 0.4, 0.8]
    assert len(slept) == ATTEMPTS - 1
    assert caplog.messages == ["the store does not answer; trying again"] * len(slept)


def test_other_errors_are_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    def missing() -> None:
        raise NotFoundError("no such object")

    with pytest.raises(NotFoundError):
        retry_while_unavailable(missing)
    assert slept == []
