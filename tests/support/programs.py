"""Programs that come as packages of the system, and not from PyPI."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, *, package: str) -> None:
    """Skip the test if a program is not there. With `CI=true` fail it: nobody reads skips there."""
    if shutil.which(program) is not None:
        return
    problem = f"there is no {program}: install Debian's package `{package}`"
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)
