"""Ctrl-C and its relatives: the first one ends the work, each further one makes the end quicker."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """Somebody wants the demo to end. Not an `Exception`, so that nobody takes it for a failure on the way."""


@contextmanager
def stop_signals(hurry: Callable[[], None]) -> Iterator[None]:
    """Raise `Stopped` at the first signal; from then on, and after the block, call `hurry` instead.

    The handlers stay after the block on purpose: what follows is the clean-up, which no signal may cut off.
    """

    def hurried(*_: object) -> None:
        hurry()

    def stopped(*_: object) -> None:
        _handle(hurried)
        raise Stopped

    _handle(stopped)
    try:
        yield
    finally:
        _handle(hurried)


@contextmanager
def restored_signals() -> Iterator[None]:
    """Put the handlers back that were there before."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _handle(handler: Callable[..., None]) -> None:
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, handler)
