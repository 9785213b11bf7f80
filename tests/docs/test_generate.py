"""The pages that the code says are what the code says today, and links in the docs lead to files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.benchmarks.results import FIGURES
from tests.docs.generate import DOCS, MEASURED, pages

ROOT = DOCS.parent
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
FOLDERS = ("lookalike", "data", "tasks", "flows", "serving", "infra", "clients", "tests", "docs")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_generated_pages_are_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == pages()[page], f"{page.name} is old: run make docs"


def test_every_result_is_shown_by_a_page_and_has_a_table() -> None:
    shown = re.findall(r"<!-- docs/figures/([\w-]+)\.json", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert sorted(shown) == sorted(MEASURED) == sorted(file.stem for file in FIGURES.glob("*.json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]*)\)", page.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), f"{target}: there is no such file"
        if heading:
            assert heading in _headings(found), f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def _headings(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def test_every_decision_is_in_the_index() -> None:
    folder = DOCS / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in sorted(folder.glob("0*.md")) if f"({page.name})" not in index] == []
