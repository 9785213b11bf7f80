"""Real children: polite ones, stubborn ones, and ones with families."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lookalike.infra.demo.processes import Service, ServiceError, Services, StepError

pytestmark = pytest.mark.slow

POLITE = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
# Starts a child in a session of its own, which starts another one and ends: neither group nor parent leads to the last.
FAMILY = """
import subprocess, sys, time
middle = "import subprocess as s, sys; s.Popen([sys.executable, '-c', *sys.argv[1:]], start_new_session=True)"
subprocess.run([sys.executable, "-c", middle, {stubborn!r}, sys.argv[1]], start_new_session=True, check=True)
print("up", flush=True)
time.sleep({seconds})
"""


@pytest.fixture
def mark(tmp_path: Path) -> str:
    """A word on the command line of each process of a test, to find those that are left."""
    return f"mark-{tmp_path.name}-{os.getpid()}"


def service(tmp_path: Path, mark: str, code: str, **options: float) -> Service:
    log = tmp_path / "service.log"
    return Service(
        "the service",
        [sys.executable, "-c", code, mark],
        os.environ,
        log,
        ready=lambda: b"up" in log.read_bytes(),
        **options,
    )


def marked(mark: str) -> list[int]:
    """Return the processes with the mark, guards among them, zombies not."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def test_a_polite_service_is_stopped_at_once(tmp_path: Path, mark: str) -> None:
    polite = service(tmp_path, mark, POLITE)
    with Services(tmp_path) as services:
        services.start(polite)
        services.wait_ready(polite)
        assert len(marked(mark)) == 2
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert marked(mark) == []


def test_services_stop_in_reverse_order(tmp_path: Path, mark: str) -> None:
    journal = tmp_path / "journal"
    code = """
import signal, sys, time
def stop(*_):
    with open(sys.argv[2], "a") as journal: journal.write(sys.argv[3])
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
time.sleep(600)
"""
    with Services(tmp_path) as services:
        for name in "abc":
            log = tmp_path / f"{name}.log"
            argv = [sys.executable, "-c", code, mark, str(journal), name]
            one = Service(name, argv, os.environ, log, ready=lambda log=log: b"up" in log.read_bytes())  # type: ignore[misc]
            services.start(one)
            services.wait_ready(one)
    assert journal.read_text() == "cba"


def test_a_stubborn_service_is_killed_after_its_grace(tmp_path: Path, mark: str) -> None:
    stubborn = service(tmp_path, mark, STUBBORN, grace_s=0.5)
    with Services(tmp_path) as services:
        services.start(stubborn)
        services.wait_ready(stubborn)
        began = time.monotonic()
    assert 0.5 <= time.monotonic() - began < 4
    assert marked(mark) == []


def test_hurry_cuts_the_grace_short(tmp_path: Path, mark: str) -> None:
    stubborn = service(tmp_path, mark, STUBBORN, grace_s=30)
    with Services(tmp_path) as services:
        services.start(stubborn)
        services.wait_ready(stubborn)
        services.hurry()
        began = time.monotonic()
    assert time.monotonic() - began < 4
    assert marked(mark) == []


@pytest.mark.parametrize("seconds", [600, 0], ids=["stopped", "ends by itself"])
def test_grandchildren_in_sessions_of_their_own_die_too(tmp_path: Path, mark: str, seconds: int) -> None:
    family = service(tmp_path, mark, FAMILY.format(stubborn=STUBBORN, seconds=seconds), grace_s=1)
    with Services(tmp_path) as services:
        services.start(family)
        assert eventually(lambda: b"up" in family.log_file.read_bytes())
        if seconds:
            assert len(marked(mark)) == 3  # guard, service, grandchild; the one between them has ended
    assert marked(mark) == []


def test_a_service_that_dies_early_shows_the_end_of_its_log(tmp_path: Path, mark: str) -> None:
    code = "import sys; print(*range(100), sep='\\n'); sys.exit('no such database')"
    broken = service(tmp_path, mark, code)
    with Services(tmp_path) as services:
        services.start(broken)
        with pytest.raises(ServiceError) as caught:
            services.wait_ready(broken)
    message = str(caught.value)
    assert message.startswith("the service died with exit status 1. The end of ")
    assert message.endswith("no such database")
    assert "    99\n" in message
    assert "    50\n" not in message


def test_a_service_that_does_not_come_up_in_time_is_reported_and_stopped(tmp_path: Path, mark: str) -> None:
    slow = service(tmp_path, mark, "import time; print('thinking', flush=True); time.sleep(600)", ready_s=0.5)
    with Services(tmp_path) as services:
        services.start(slow)
        assert eventually(lambda: b"thinking" in slow.log_file.read_bytes())
        with pytest.raises(ServiceError, match=r"the service did not come up within 0 seconds(.|\n)*thinking"):
            services.wait_ready(slow)
    assert marked(mark) == []


def test_a_program_that_does_not_exist_is_a_service_that_died(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ghost = Service("the ghost", [str(tmp_path / "nothing")], os.environ, log, ready=lambda: False)
    with Services(tmp_path) as services:
        services.start(ghost)
        with pytest.raises(ServiceError, match=r"the ghost died with exit status 127(.|\n)*No such file"):
            services.wait_ready(ghost)


def test_a_step_returns_what_it_prints(tmp_path: Path, mark: str) -> None:
    argv = [sys.executable, "-c", "print('done')", mark]
    with Services(tmp_path) as services, services.step("the step", argv, os.environ) as step:
        assert step.result() == "done\n"


def test_a_failed_step_says_so_with_its_log(tmp_path: Path, mark: str) -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('disk full')", mark]
    with (
        Services(tmp_path) as services,
        services.step("the step", argv, os.environ, tmp_path / "step.log") as step,
        pytest.raises(StepError, match=r"the step failed with exit status 1(.|\n)*disk full"),
    ):
        step.result()


def test_a_step_that_is_left_early_is_stopped(tmp_path: Path, mark: str) -> None:
    with Services(tmp_path) as services, services.step("the step", [sys.executable, "-c", POLITE, mark], os.environ):
        assert eventually(lambda: len(marked(mark)) == 2)
    assert marked(mark) == []


def test_a_step_ends_when_a_service_dies(tmp_path: Path, mark: str) -> None:
    dying = service(tmp_path, mark, "import time; time.sleep(0.5)")
    with Services(tmp_path) as services:
        services.start(dying)
        with (
            services.step("the step", [sys.executable, "-c", POLITE, mark], os.environ) as step,
            pytest.raises(ServiceError, match="died"),
        ):
            step.result()
    assert marked(mark) == []


def test_kill_9_of_the_parent_leaves_nothing(tmp_path: Path, mark: str) -> None:
    family = FAMILY.format(stubborn=STUBBORN, seconds=600)
    code = f"""
import os, sys, time
from pathlib import Path
from lookalike.infra.demo.processes import Service, Services
services = Services(Path({str(tmp_path)!r}))
for name, code in {{"family": {family!r}, "stubborn": {STUBBORN!r}}}.items():
    log = Path({str(tmp_path)!r}, name)
    argv = [sys.executable, "-c", code, {mark!r}]
    one = Service(name, argv, os.environ, log, lambda: b"up" in log.read_bytes(), grace_s=1)
    services.start(one)
    services.wait_ready(one)
print("started", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        assert len(marked(mark)) >= 5
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: marked(mark) == [])
