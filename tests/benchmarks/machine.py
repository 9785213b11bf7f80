"""What figures depend on: the machine, the versions of packages, and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.servers import ROOT

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
"""What makes models and searches fast on x86-64, as Linux calls it: one name of a processor may stand for many."""

PACKAGES = ("faiss-cpu", "numpy", "onnxruntime", "openvino", "pyarrow", "fastapi", "uvicorn")


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
        "instructions": _instructions(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    """Return what Linux calls the processor, and the architecture where it says no name."""
    return _read_first("model name") or platform.machine()


def _instructions() -> list[str]:
    known = _read_first("flags").split()
    return [name for name in INSTRUCTIONS if name in known]


def _read_first(name: str) -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
