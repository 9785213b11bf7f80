"""What this process uses: processor time, memory, and the disk of its cache.

The collectors of prometheus_client know one process only, so with several workers they say nothing. These gauges and
counters add up.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from pathlib import Path

from lookalike.serving.background import in_thread
from lookalike.serving.telemetry.metrics import Metrics

SAMPLE_SECONDS = 5.0

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_STATM = Path("/proc/self/statm")


class Resources:
    """Samples what this process uses. `folder` is the cache; it need not be there yet."""

    def __init__(self, metrics: Metrics, folder: Path) -> None:
        self._metrics = metrics
        self._folder = folder
        self._counted = 0.0

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            await in_thread(self.sample, name="sample resources")  # a disk that hangs must not stop queries
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Sample once."""
        used = time.process_time()
        self._metrics.cpu.inc(used - self._counted)
        self._counted = used
        self._metrics.memory.set(memory_bytes())
        self._metrics.memory_limit.set(memory_limit_bytes())
        self._metrics.cache_free.set(free_bytes(self._folder))


def memory_bytes() -> int:
    """Return the resident memory of this process. Where the system does not say, the most there ever was."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_limit_bytes() -> int:
    """Return the smallest of the container's limit and the machine's memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    written = [path.read_text().strip() for path in _LIMITS if path.exists()]
    return min([machine, *(int(limit) for limit in written if limit.isdigit())])


def free_bytes(folder: Path) -> int:
    """Return the free space where a folder is, or will be."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    return shutil.disk_usage(there).free
