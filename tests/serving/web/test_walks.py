from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.serving.web.walks import walk

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

WALKS, STEPS = 6, 50  # more of them: python -m tests.serving.web.walks URL


@pytest.mark.timeout(900)
def test_nobody_gets_lost(browser: Browser, shop_url: str) -> None:
    wrong = [found for seed in range(WALKS) if (found := walk(browser, shop_url, seed, STEPS))]
    assert not wrong, "\n".join(wrong)
