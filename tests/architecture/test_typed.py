"""`mypy`, as `make lint` runs it, looks into every folder: an error that is planted in each is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("lookalike", "data", "tasks", "flows", "serving", "infra", "clients", "tests")
PLANTED = "def planted():\n    return 1\n"  # only `--strict` minds that the type is missing


@pytest.mark.slow
def test_a_planted_error_is_found_in_every_folder(tmp_path: Path) -> None:
    """In a copy of the folders and links alone: what is in the files would take minutes, and `make lint` checks it."""
    packages = {file.parent for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}
    planted = {(package / "planted.py").relative_to(ROOT) for package in packages}
    for file in planted:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(PLANTED)
        if (ROOT / file.parent / "__init__.py").exists():
            (tmp_path / file.parent / "__init__.py").touch()
    for link in (path for path in (ROOT / "lookalike").iterdir() if path.is_symlink()):
        (tmp_path / "lookalike" / link.name).symlink_to(link.readlink())
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)

    errors = re.findall(r"^(\S+):1: error: Function is missing a return type", done.stdout, re.MULTILINE)
    found = {(tmp_path / name).resolve().relative_to(tmp_path.resolve()) for name in errors}
    assert found == planted, done.stdout + done.stderr
    assert {file.parts[0] for file in found} == set(FOLDERS)
