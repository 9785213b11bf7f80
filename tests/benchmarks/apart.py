"""Measurements in an environment of their own, with packages that are not among what Lookalike installs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


def measure_apart(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    """Run a script beside this file by another Python, and return the JSON that it prints."""
    command = [str(python), str(Path(__file__).with_name(script)), *arguments]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"{error}: what to install there is at the top of the benchmark's file") from error
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
