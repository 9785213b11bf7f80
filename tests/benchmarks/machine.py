"""What figures depend on: the machine, the versions of packages, and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.servers import ROOT

PACKAGES = ("faiss-cpu", "numpy", "onnxruntime", "pyarrow", "fastapi", "uvicorn")


def describe_commit(checkout: Path = ROOT) -> str:
    """Return the commit of a checkout, and whether something in it is changed."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=checkout, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def describe_machine() -> dict[str, Any]:
    """Return what figures depend on."""
    return {
        "commit": describe_commit(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    """Return what Linux calls the processor, and the architecture where it says no name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
