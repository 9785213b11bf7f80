"""Supervised child processes: started, waited for, stopped in reverse order or by a signal, and never left behind.

Each runs under a guard (`guard.py`) in its own session. So Ctrl-C reaches only the demo, which stops the others in
order, and even `kill -9` of the demo ends all of them with all their descendants.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HOST = "127.0.0.1"

GUARD = str(Path(__file__).with_name("guard.py"))
TAIL_LINES = 15
MARGIN_S = 5.0  # after the grace, the time for a guard to kill the remaining processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just left counts as free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int = 0) -> int:
    """Return the preferred port if it is free, else one that the system chooses."""
    if preferred and is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass(frozen=True)
class Service:
    """A program that runs until it is stopped.

    Attributes:
        name: what people call it.
        argv: the program and its arguments.
        env: its whole environment.
        log_file: where its output goes; an older file is replaced.
        ready: tells whether it is up; called repeatedly, so it must be quick and must not raise.
        ready_s: how long it may take to come up.
        grace_s: how long it may take to end by itself.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log_file: Path
    ready: Callable[[], bool]
    ready_s: float = 90.0
    grace_s: float = 5.0


class ServiceError(Exception):
    """A service died or did not come up; the message contains the end of its log."""

    def __init__(self, service: Service, problem: str) -> None:
        super().__init__(f"{service.name} {problem}{_read_tail(service.log_file)}")
        self.service = service


class StepError(Exception):
    """A program failed; the message contains the end of its log, if it has one."""

    def __init__(self, name: str, status: int, log_file: Path | None = None) -> None:
        super().__init__(f"{name} failed with exit status {status}{_read_tail(log_file)}")
        self.name = name
        self.status = status


class Services:
    """The running services, as a context: leaving it stops them all, the last one started first."""

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._running: list[tuple[Service, _Guarded]] = []

    def __enter__(self) -> Services:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start a service and return at once."""
        service.log_file.parent.mkdir(parents=True, exist_ok=True)
        with service.log_file.open("wb") as log:
            guarded = _Guarded(service.argv, service.grace_s, self._cwd, service.env, log.fileno(), log.fileno())
        self._running.append((service, guarded))

    def wait_ready(self, service: Service) -> None:
        """Wait until the service is up.

        Raises `ServiceError` if any service dies or this takes longer than `ready_s`.
        """
        deadline = time.monotonic() + service.ready_s
        while not service.ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(service, f"did not come up within {service.ready_s:.0f} seconds")
            time.sleep(0.1)

    def check(self) -> None:
        """Raise `ServiceError` if any service has died."""
        for service, guarded in self._running:
            if (status := guarded.process.poll()) is not None:
                raise ServiceError(service, f"died with exit status {status}")

    @contextlib.contextmanager
    def step(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], log_file: Path | None = None
    ) -> Iterator[Step]:
        """Run a program that ends by itself, beside the services; leaving the context stops it if it still runs.

        Args:
            name: what people call it.
            argv: the program and its arguments.
            env: its whole environment.
            log_file: where its output goes; without one, people see its stderr, and its stdout is the result.
        """
        with contextlib.ExitStack() as stack:
            output, errors = subprocess.PIPE, None
            if log_file is not None:
                log_file.parent.mkdir(parents=True, exist_ok=True)
                output = errors = stack.enter_context(log_file.open("wb")).fileno()
            guarded = _Guarded(argv, 5.0, self._cwd, env, output, errors)
            try:
                yield Step(name, guarded.process, self, log_file)
            finally:
                guarded.stop()

    def hurry(self) -> None:
        """End the grace of all services at once; for a second Ctrl-C while `stop` waits."""
        for _, guarded in self._running:
            guarded.kill()

    def stop(self) -> None:
        """Stop all services, the last one started first."""
        while self._running:
            self._running[-1][1].stop()
            self._running.pop()


@dataclass(frozen=True)
class Step:
    """A running program that ends by itself."""

    name: str
    process: subprocess.Popen[bytes]
    services: Services
    log_file: Path | None

    def result(self) -> str:
        """Wait for the program's end and return its stdout.

        Raises `StepError` if it failed, `ServiceError` if a service died.
        """
        while True:
            try:
                stdout, _ = self.process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                self.services.check()
        if self.process.returncode:
            raise StepError(self.name, self.process.returncode, self.log_file)
        return (stdout or b"").decode()


class _Guarded:
    """One program under its guard, and this end of the pipe that keeps both alive."""

    def __init__(
        self, argv: Sequence[str], grace_s: float, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int | None
    ) -> None:
        self._grace_s = grace_s
        theirs, self._lifeline = os.pipe()
        command = [sys.executable, "-I", "-S", GUARD, str(grace_s), *argv]
        try:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=dict(env), stdin=theirs, stdout=stdout, stderr=stderr, start_new_session=True
            )
        finally:
            os.close(theirs)

    def stop(self) -> None:
        """Stop the program and wait until nothing of it is left."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self.process.wait(self._grace_s + MARGIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill(self) -> None:
        """Tell the guard not to wait any longer."""
        self.process.send_signal(signal.SIGTERM)


def _read_tail(log_file: Path | None) -> str:
    if log_file is None or not log_file.exists():
        return ""
    lines = log_file.read_bytes()[-65536:].decode(errors="replace").splitlines()[-TAIL_LINES:]
    return f". The end of {log_file}:\n" + "\n".join(f"    {line}" for line in lines or ["(empty)"])


class Stopped(BaseException):
    """Somebody stopped the demo. Not an `Exception`, so that no handler takes it for a failure."""


@contextlib.contextmanager
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


@contextlib.contextmanager
def restore_signals() -> Iterator[None]:
    """Restore the earlier signal handlers after the block."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_handlers(handler: Callable[..., None]) -> None:
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, handler)
