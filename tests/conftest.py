"""Fixtures that all tests share, and the order of files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = [
    "tests.support.shared",
    "tests.support.seaweedfs",
    "tests.support.servers",
    "tests.support.engine",
    "tests.support.image_tools",
    "tests.support.helm_tools",
    "tests.support.traces",
]

FAST = "not slow and not services"
SERVERS = {"browser", "engine", "prefect_api", "seaweedfs"}
_IS_SLOW = re.compile(r"^pytestmark = .*pytest\.mark\.(slow|services)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what `make test-fast` deselects as a whole: to import torch for it takes 15 seconds."""
    if config.option.markexpr != FAST or collection_path.suffix != ".py":
        return None
    return bool(_IS_SLOW.search(collection_path.read_text())) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: of two processes, none is left with a long file when the other is done."""
    fast = [item for item in items if not any(item.get_closest_marker(name) for name in ("slow", "services", "system"))]
    unmarked = sorted({path.name for name in SERVERS for path in _using(fast, name)})
    if unmarked:
        raise pytest.UsageError(f"tests that start {', '.join(sorted(SERVERS))} must be marked services: {unmarked}")
    slow = {item.path for item in items if item.get_closest_marker("slow") and item.get_closest_marker("services")}
    # containers change the networks of this machine, and a browser then loses what it just asks for: they come apart
    first, last = _using(items, "engine"), _using(items, "browser")
    items.sort(key=lambda item: (item.path in last, item.path not in first, item.path not in slow))


def _using(items: list[pytest.Item], fixture: str) -> set[Path]:
    """Return the files with tests that use a fixture."""
    return {item.path for item in items if fixture in getattr(item, "fixturenames", ())}
