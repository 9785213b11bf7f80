from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os
from serving.memory import LARGE, give_back_large_blocks
from tests.support.watched import resident
give_back_large_blocks()
bytearray(24 * 2**20)  # freed at once: from here on glibc, left alone, keeps such blocks
blocks = [b"x" * (8 * LARGE) for _ in range(64)]
kept = b"y" * (LARGE // 2)
before = resident(os.getpid())
blocks.clear()
print((before - resident(os.getpid())) // 2**20)
"""


def test_freed_pixels_go_back_to_the_system() -> None:
    """Nearly all of 128 MiB, though a small block lies above; what glibc keeps by itself depends on its version."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 120
