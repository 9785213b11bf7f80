from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
from serving.memory import LARGE, give_back_large_blocks
from tests.support.watched import resident
if sys.argv[1] == "yes":
    give_back_large_blocks()
bytearray(24 * 2**20)  # freed at once: from here on glibc, left alone, keeps such blocks
blocks = [b"x" * (8 * LARGE) for _ in range(64)]
kept = b"y" * (LARGE // 2)
before = resident(os.getpid())
blocks.clear()
print((before - resident(os.getpid())) // 2**20)
"""


def given_back(told: str) -> int:
    """Return how many MiB of 128 a process gives back when a small block lies above the large ones."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, told], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_pixels_go_back_to_the_system() -> None:
    assert given_back("yes") > 120
    assert given_back("no") < 60
