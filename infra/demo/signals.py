"""Ctrl-C and other stop signals: the first one ends the work, and each further one speeds up the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """Somebody stopped the demo. Not an `Exception`, so that no handler takes it for a failure."""


@contextmanager
def stop_signals(hurry: Callable[[], None]) -> Iterator[None]:
    """Raise `Stopped` at the first signal; from then on, and after the block, call `hurry` instead.

    The handlers stay after the block on purpose: what follows is the clean-up, which no signal may cut off.
    """

    def hurried(*_: object) -> None:
        hurry()

    def stopped(*_: object) -> None:
        _set_handlers(hurried)
        raise Stopped

    _set_handlers(stopped)
    try:
        yield
    finally:
        _set_handlers(hurried)


@contextmanager
def restore_signals() -> Iterator[None]:
    """Restore the earlier signal handlers after the block."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _set_handlers(handler: Callable[..., None]) -> None:
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, handler)
