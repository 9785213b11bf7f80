"""Fixtures that all tests share, and the order of their files."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.support.seaweedfs", "tests.support.servers"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: at the end, one process would wait for another's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
