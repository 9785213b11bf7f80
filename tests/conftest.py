"""Fixtures that all tests share, and the order of files."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.support.shared", "tests.support.seaweedfs", "tests.support.servers"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: of two processes, none is left with a long file when the other is done."""
    slow = {item.path for item in items if item.get_closest_marker("slow") and item.get_closest_marker("services")}
    items.sort(key=lambda item: item.path not in slow)
