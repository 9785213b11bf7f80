"""The distribution: it needs httpx2 and nothing else, loads it late, and its wheel works in an empty environment."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "clients" / "python"
PACKAGE = SOURCE / "src" / "lookalike_client"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("numpy", "pydantic", "PIL", "lookalike", "concurrent.futures.process")
SCRIPT = f"""
import sys
import lookalike_client
assert not {{"httpx2", "websockets"}}.intersection(sys.modules)
assert lookalike_client.Client("http://127.0.0.1:9").url
print([name for name in {HEAVY!r} if name in sys.modules], lookalike_client.__version__)
"""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_a_module_imports_httpx2_and_the_standard_library_alone(module: Path) -> None:
    """import-linter would want the client installed beside Lookalike; a test does not."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    optional = {"websockets"} if module.stem == "stream" else set()
    assert roots - set(sys.stdlib_module_names) <= {"httpx2", "lookalike_client"} | optional


def test_it_depends_on_httpx2_alone() -> None:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [dependency.partition(">")[0] for dependency in project["dependencies"]] == ["httpx2"]
    assert list(project["optional-dependencies"]) == ["stream"]


def test_importing_it_loads_nothing_heavy() -> None:
    """Here these are installed, so that it could."""
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE / "src")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.startswith("[] 0.")


@pytest.mark.system
@pytest.mark.slow
def test_its_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    built = build_wheel(tmp_path)
    with zipfile.ZipFile(built) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.partition("/")[2] for name in names} == {
        *(str(module.relative_to(PACKAGE)) for module in MODULES),
        "py.typed",
    }

    venv.create(tmp_path / "environment", with_pip=True)
    python = tmp_path / "environment" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(built)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=200)
    if "No matching distribution found for httpx2" in done.stderr:
        pytest.skip("no package index: httpx2 cannot be installed")
    assert done.returncode == 0, done.stderr
    said = subprocess.run([python, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.startswith("[] 0.")


def build_wheel(folder: Path) -> Path:
    """Build from a copy, because building writes beside the sources."""
    source = folder / "source"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=200)
    [built] = folder.glob("*.whl")
    return built
