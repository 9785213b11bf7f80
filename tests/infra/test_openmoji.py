"""The sample catalogue: what is in it, and that rendering can be cut off and taken up again."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lookalike.infra.demo import openmoji
from tests.support.catalogues import read_all


def test_the_sample_has_enough_things_and_no_people_or_flags() -> None:
    sample = openmoji.list_pictures()
    assert len(sample) >= 1_500
    assert len({one.hexcode for one in sample}) == len(sample)
    assert all(one.title and one.category for one in sample)
    categories = {one.category for one in sample}
    assert {"animals-nature", "food-drink", "objects", "travel-places"} <= categories
    assert not {name for name in categories if "people" in name or "flag" in name or " " in name}
    titles = {one.title.lower() for one in sample}
    assert {"fox face", "pineapple", "cable", "armchair"} <= titles
    assert not {"man", "woman", "waving hand sign", "germany flag"} & titles


@pytest.mark.parametrize("processes", [1, 2])
def test_rendering_makes_a_catalogue(tmp_path: Path, processes: int) -> None:
    seen: list[tuple[int, int]] = []
    path = openmoji.render(tmp_path, lambda done, total: seen.append((done, total)), limit=40, processes=processes)
    assert seen[0] == (0, 40)
    assert seen[-1] == (40, 40)
    products = read_all(str(path)).products
    assert products.num_rows == 40
    assert [field.name for field in products.schema.field("attributes").type] == ["category", "emoji_version"]
    for reference in products["image"].to_pylist():
        with Image.open(reference) as picture:
            assert picture.size == (openmoji.PIXELS, openmoji.PIXELS)
            assert picture.getchannel("A").getextrema() == (0, 255)


def test_rendering_is_the_same_every_time(tmp_path: Path) -> None:
    contents = []
    for name in "ab":
        openmoji.render(tmp_path / name, limit=3)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_what_is_there_is_kept_and_what_is_missing_is_made(tmp_path: Path) -> None:
    catalogue = openmoji.render(tmp_path, limit=4)
    first, second, *_ = sorted((tmp_path / "images").iterdir())
    first.write_bytes(b"kept as it is")
    second.unlink()
    before = catalogue.stat().st_mtime_ns
    seen: list[int] = []
    openmoji.render(tmp_path, lambda done, _: seen.append(done), limit=4)
    assert seen == [3, 4]
    assert first.read_bytes() == b"kept as it is"
    Image.open(io.BytesIO(second.read_bytes())).verify()
    assert catalogue.stat().st_mtime_ns == before


def test_a_kill_leaves_only_whole_pictures(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "lookalike.infra.demo.openmoji", str(tmp_path)]) as process:
        while not list((tmp_path / "images").glob("*.png")):
            assert process.poll() is None
        process.kill()
    for path in (tmp_path / "images").glob("*.png"):
        Image.open(path).verify()
    assert openmoji.render(tmp_path, limit=2).exists()


def test_the_attribution_names_the_work_and_its_licence() -> None:
    assert "OpenMoji" in openmoji.ATTRIBUTION
    assert "CC BY-SA 4.0" in openmoji.ATTRIBUTION
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in openmoji.ATTRIBUTION
