"""What processes ask for over the network, recorded by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

TRACE = ["strace", "--follow-forks", "--seccomp-bpf", "--quiet=all", "--signal=none", "--trace=connect,sendto,sendmmsg"]
UNSAID = ("DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY", "PREFECT_SERVER_ANALYTICS_ENABLED")
"""Variables that tell dependencies to be silent: tests take them away, because Lookalike itself must set them."""
PROXY = "http://192.0.2.7:3128"
"""A proxy of a company, as it stands in the environment of each of its machines. The address is one of documentation:
what is asked through it is seen in a trace, and gets no answer.
"""
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')


@pytest.fixture(scope="session")
def strace() -> list[str]:
    """Return the command that traces another one; `-o` names the file."""
    if shutil.which("strace") is None:
        problem = "Debian's package strace is not installed"
        pytest.fail(problem) if os.environ.get("CI") else pytest.skip(problem)
    if subprocess.run([*TRACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow a process to trace another one")
    return TRACE


def use_home_of_nobody(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Set a home that nobody has used, a proxy, and nothing that tells anybody to be silent."""
    home.mkdir(exist_ok=True)
    patch.setenv("HOME", str(home))
    for name in ("CI", "XDG_CACHE_HOME", "PREFECT_HOME", "PREFECT_API_URL", "NO_PROXY", "no_proxy", *UNSAID):
        patch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        patch.setenv(name, PROXY)


def strangers(trace: str) -> set[str]:
    """Return the addresses in a trace that are not of this machine; a question to a name server is one."""
    found = {first or second for first, second in _ADDRESS.findall(trace)}
    return {address for address in found if not ip_address(address).is_loopback}
