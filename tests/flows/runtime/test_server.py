"""The Prefect server of a run that is given none. That a run starts one and ends it is in tests/test_privacy.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from lookalike.data.errors import UnavailableError
from lookalike.flows.runtime.server import ADDRESS, Server, is_named

pytestmark = pytest.mark.slow  # Prefect takes seconds to import


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_settings_no_server_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text('active = "ephemeral"\n[profiles.ephemeral]\n')
    (home / "pyproject.toml").write_text('[project]\nname = "shop"\ndependencies = ["prefect"]\n')
    (home / ".env").write_text("LOOKALIKE_STORE=s3://shop\n")
    assert not is_named()
    monkeypatch.setenv(ADDRESS, "")
    assert not is_named()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("profiles.toml", '[profiles.work]\nPREFECT_API_URL = "http://prefect.internal:4200/api"\n'),
        ("prefect.toml", '[api]\nurl = "http://prefect.internal:4200/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://prefect.internal:4200/api"\n'),
        (".env", "prefect_api_url=http://prefect.internal:4200/api\n"),
    ],
)
def test_a_file_of_prefect_s_settings_names_one(home: Path, name: str, text: str) -> None:
    (home / name).write_text(text)
    assert is_named()


def test_a_variable_names_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "http://prefect.internal:4200/api")
    assert is_named()


def test_one_that_ends_is_told_by_its_last_words() -> None:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit('the disk is full')"], stderr=log)
        with pytest.raises(UnavailableError, match="for itself does not answer: the disk is full; start one with"):
            Server(process, "http://127.0.0.1:9/api", log).wait()
        Server(process, "http://127.0.0.1:9/api", log).stop()


@pytest.mark.services
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_run_however_that_ends(home: Path, how: signal.Signals) -> None:
    code = (
        "import time; from lookalike.flows.runtime.server import start_server\n"
        "print(start_server().process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        server = psutil.Process(int(run.stdout.readline()))
        assert server.is_running()
        run.send_signal(how)
        run.wait(30)
    psutil.wait_procs([server], timeout=60)
    assert not server.is_running()
