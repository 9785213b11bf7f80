"""A browser that is missing: a reason to skip for a person, a failure in continuous integration."""

from __future__ import annotations

import pytest

from tests.support.browsers import require_browser


def test_without_a_browser_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is no Chromium"):
        require_browser(None)


def test_without_a_browser_a_test_in_continuous_integration_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install Debian's package `chromium`"):
        require_browser(None)


def test_a_browser_is_enough_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    require_browser("/usr/bin/chromium")
