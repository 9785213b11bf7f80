"""The recipes of docs/clients.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.generate import DOCS
from tests.support.processes import Server
from tests.support.shop import picture

PAGE = (DOCS / "clients.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (\d+\. [^\n]+)\n.*?```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))

pytestmark = [pytest.mark.services]


def test_there_are_ten() -> None:
    assert len(RECIPES) == 10
    assert PAGE.count("```python") == 10


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs(
    name: str,
    running: Server,
    api_key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for seed, file in enumerate(("shoe.jpg", "boot.jpg", "pictures/a.jpg", "pictures/b.jpg")):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(picture(seed, kind="JPEG"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKALIKE_URL", running.url)
    monkeypatch.setenv("LOOKALIKE_API_KEY", api_key)
    exec(compile(RECIPES[name], name, "exec"), {"__name__": "recipe"})
    if name.startswith("4."):
        assert {file.name for file in tmp_path.glob("*.*")} >= {"best.png", "small.jpg"}
    else:
        assert capsys.readouterr().out.strip()
