"""Runs one program so that no process of it outlives the parent, even if the parent is killed.

Called as `python guard.py GRACE_SECONDS PROGRAM [ARGUMENT…]`, with a pipe as standard input whose other end only the
parent holds. The end of that pipe means "stop". The parent closes it to stop politely, and the kernel closes it when
the parent is killed, so both cases take the same path. SIGTERM to the guard means "stop at once".

Only the standard library, and nothing of this repository: it is run with `-I -S`, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STRAGGLERS_S = 1.0  # the time for helper processes to end by themselves after their program
LINUX = sys.platform.startswith("linux")


class Guard:
    """One guarded program, from its start to the end of its last descendant."""

    def __init__(self, argv: list[str], grace_s: float) -> None:
        self._grace_s = grace_s
        self._status: int | None = None
        self._urgent = False
        self._woken, wake = os.pipe()
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake up `select`
        signal.signal(signal.SIGTERM, self._hurry)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphaned grandchildren become children of the guard, not of init
        self._child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_guard)  # noqa: PLW1509

    def run(self) -> int:
        """Wait for the program or for the order to stop; return the program's exit status as a shell would."""
        while self._status is None and not self._urgent:
            readable, _, _ = select.select([sys.stdin, self._woken], [], [])
            self._reap()
            if sys.stdin in readable:
                self._stop()
        self._end_stragglers()
        return 0 if self._status is None else self._status

    def _hurry(self, *_: object) -> None:
        self._urgent = True

    def _stop(self) -> None:
        self._signal(self._child.pid, signal.SIGTERM)
        self._wait(self._grace_s, until=lambda: self._status is not None)
        if self._status is None:
            self._urgent = True

    def _end_stragglers(self) -> None:
        """End processes that the program left behind: terminate them, then kill until none is left."""
        if not self._urgent:
            for pid in self._list_remaining():
                self._signal(pid, signal.SIGTERM)
            self._wait(STRAGGLERS_S, until=lambda: not self._list_remaining())
        while remaining := self._list_remaining():  # repeated, as a dying program may still fork
            for pid in remaining:
                self._signal(pid, signal.SIGKILL)
            time.sleep(0.05)
            self._reap()

    def _wait(self, seconds: float, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        self._reap()
        while not until() and (left := deadline - time.monotonic()) > 0 and not self._urgent:
            select.select([self._woken], [], [], min(left, 0.2))
            self._reap()

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 512)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._child.pid:
                    code = os.waitstatus_to_exitcode(ended[1])
                    self._status = code if code >= 0 else 128 - code

    def _list_remaining(self) -> list[int]:
        if LINUX:
            return _list_descendants(os.getpid())
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, 0)
            return [self._child.pid]
        return []

    def _signal(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid == self._child.pid and not LINUX:  # other systems reach only the process group
                os.killpg(pid, number)
            else:
                os.kill(pid, number)


def _list_descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        ahead = [child for parent in ahead for child in children.get(parent, [])]
        found += ahead
    return found


def _die_with_guard() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if LINUX:
        _LIBC.prctl(option, value, 0, 0, 0)


_LIBC = ctypes.CDLL(None)  # loaded before any fork


def main() -> int:
    """Guard the program on the command line; return its exit status."""
    try:
        guard = Guard(sys.argv[2:], float(sys.argv[1]))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 127
    return guard.run()


if __name__ == "__main__":
    sys.exit(main())
