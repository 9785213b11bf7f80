"""What an index must be able to do to be compared with others, and the memory that it takes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

K = 10
BATCH = 16_384
EFFORTS = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


class System:
    """One system. `efforts` are tried in turn until the recall that is wanted is reached."""

    efforts: tuple[int, ...] = EFFORTS
    effort_name = "ef"

    def build(self, vectors: Vectors, folder: Path, threads: int) -> dict[str, Any]:
        raise NotImplementedError

    def open(self, folder: Path) -> None:
        raise NotImplementedError

    def set_effort(self, effort: int) -> None:
        raise NotImplementedError

    def set_threads(self, threads: int) -> None:
        raise NotImplementedError

    def search(self, queries: Vectors) -> Ids:
        raise NotImplementedError

    def processes(self) -> list[psutil.Process]:
        """Return the processes of its server, if it has one."""
        return []

    def close(self) -> None:
        """End what it started."""


class Memory:
    """The most memory that this process, without mapped files, and a system's server have held, by /proc."""

    def __init__(self, system: System) -> None:
        self.peak = 0
        self._system = system
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def now(*fields: str) -> int:
        """Return the sum of some fields of this process's status, in bytes."""
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        return sum(int(lines[field].split()[0]) * 1024 for field in fields)

    def stop(self) -> int:
        """Return the peak."""
        self._stop.set()
        self._thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, self.now("RssAnon") + server_bytes(self._system))


def server_bytes(system: System) -> int:
    """Return the memory of a system's server: what processes share counts once."""
    held = 0
    for process in system.processes():
        try:
            held += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return held


def server_seconds(system: System) -> float:
    """Return the processor time of a system's server, with that of its children that ended."""
    return sum(sum(process.cpu_times()[:4]) for process in system.processes())
