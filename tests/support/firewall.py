"""What an engine changes in the network of this machine, and how that is taken back."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_IPTABLES = "/usr/sbin/iptables"
_TABLES = ("filter", "nat")


@dataclass(frozen=True)
class State:
    """What there was before."""

    forward: str
    policy: str
    chains: frozenset[tuple[str, str]]

    @classmethod
    def read(cls) -> State:
        """Read it from this machine."""
        policy = next(line.split()[-1] for line in _list("filter") if line.startswith("-P FORWARD"))
        return cls(_FORWARD.read_text().strip(), policy, frozenset(_chains()))


def restore(before: State) -> None:
    """Remove the chains that an engine made, and set back what it switched on; not while another engine needs them."""
    if is_used():
        return
    _iptables("-P", "FORWARD", before.policy)
    _FORWARD.write_text(before.forward)
    made = [one for one in _chains() if one not in before.chains]
    for table, chain in made:
        for line in _list(table):
            if line.startswith("-A ") and f"-j {chain}" in line:
                _iptables("-t", table, "-D", *line.split()[1:])
        _iptables("-t", table, "-F", chain)
    for table, chain in made:
        _iptables("-t", table, "-X", chain)


def is_used() -> bool:
    """Tell whether some engine runs on this machine."""
    states = (_read(process / "stat") for process in Path("/proc").iterdir() if process.name.isdigit())
    # one that has ended may wait for its parent as a zombie
    return any("(dockerd)" in state and ") Z " not in state for state in states)


def bridges() -> set[str]:
    """Return the names of all bridges of this machine."""
    return {path.parent.name for path in Path("/sys/class/net").glob("*/bridge")}


def rules() -> list[str]:
    """Return all rules of this machine's firewall."""
    return [line for table in _TABLES for line in _list(table)]


def _chains() -> list[tuple[str, str]]:
    return [(table, line.split()[1]) for table in _TABLES for line in _list(table) if line.startswith("-N DOCKER")]


def _list(table: str) -> list[str]:
    return _iptables("-t", table, "-S").splitlines()


def _iptables(*arguments: str) -> str:
    command = [_IPTABLES, "--wait", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""  # ended meanwhile
