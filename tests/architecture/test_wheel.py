"""A wheel in an environment of its own, beside a project that has folders named `data`, `tasks` and `tests`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("lookalike", "data", "tasks", "flows", "serving", "infra", "pyproject.toml", "README.md", "LICENSE")
THEIR_FOLDERS = ("data", "tasks", "flows", "serving", "tests")

SCRIPT = """
import data, tasks, flows, serving, tests
import lookalike.data.snapshots.manifest, lookalike.tasks.scan, lookalike.serving.errors
import lookalike.cli, lookalike.encoders

for theirs in (data, tasks, flows, serving, tests):
    assert theirs.WHOSE == "the shop's", theirs
print(lookalike.data.snapshots.manifest.__file__)
"""

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because building writes beside the sources; links stay links."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=200)
    [built] = folder.glob("*.whl")
    return built


def test_it_holds_one_package_with_all_that_is_no_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in names} == {"lookalike"}
    kept = {file.relative_to(ROOT).as_posix() for folder in SOURCES[1:6] for file in (ROOT / folder).rglob("*.py")}
    assert {f"lookalike/{name}" for name in kept} <= set(names)
    for needed in ("serving/web/static/index.html", "tasks/encoders/pictures/README.md"):
        assert f"lookalike/{needed}" in names


def test_it_leaves_a_shops_own_folders_alone(wheel: Path, tmp_path: Path) -> None:
    environment, shop = tmp_path / "environment", tmp_path / "shop"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, timeout=100)
    [packages] = environment.glob("lib/python*/site-packages")
    # the libraries are those of this environment, and nothing of this repository: an entry of `.pth` would bring it in
    libraries = next(path for path in map(Path, sys.path) if (path / "pydantic").is_dir())
    for name in THEIR_FOLDERS:
        (shop / name).mkdir(parents=True)
        (shop / name / "__init__.py").write_text('WHOSE = "the shop\'s"\n')
    (shop / "job.py").write_text(SCRIPT)
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-I", "-c", _run_in(shop, packages, libraries)],
        cwd=shop,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(packages)


def _run_in(shop: Path, packages: Path, libraries: Path) -> str:
    """Return a program that runs the shop's job: its own folders first, our wheel next, libraries last."""
    path = [str(shop), str(packages), str(libraries)]
    return f"import sys, runpy; sys.path[:0] = {path[:2]!r}; sys.path.append({path[2]!r}); runpy.run_path('job.py')"
