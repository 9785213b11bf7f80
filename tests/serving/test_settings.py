from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.settings import ServingSettings


def read() -> ServingSettings:
    return ServingSettings(_env_file=None)


def test_every_variable_says_what_it_is_for() -> None:
    variables = list(ServingSettings.variables())
    assert all(len(variable.description) > 10 for variable in variables)
    names = [variable.name for variable in variables]
    assert len(set(names)) == len(names)
    assert {"LOOKALIKE_STORE", "LOOKALIKE_CHANNEL", "LOOKALIKE_LIMITS__MAX_BODY_BYTES"} <= set(names)


def test_each_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"LOOKALIKE_PORT": "9000", "LOOKALIKE_LIMITS__MAX_K": "7", "LOOKALIKE_BATCHING__ENCODER_THREADS": "3"}
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    settings = read()
    assert (settings.port, settings.limits.max_k, settings.encoder_threads) == (9000, 7, 3)


def test_defaults_are_what_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    before = read()
    for variable in ServingSettings.variables():
        monkeypatch.setenv(variable.name, variable.default)
    assert read() == before


def test_env_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LOOKALIKE_STORE=s3://bucket/shop\nLOOKALIKE_OF_ANOTHER_TIER=1\n")
    assert ServingSettings(_env_file=file).store == "s3://bucket/shop"


def test_a_kubernetes_service_link_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_PORT", "tcp://10.0.0.7:80")
    assert read().port == 8000


@pytest.mark.parametrize(("name", "value"), [("PORT", "0"), ("LIMITS__MAX_K", "0"), ("POLL_SECONDS", "0")])
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(ValidationError):
        read()


def test_each_store_and_channel_has_its_cache(tmp_path: Path) -> None:
    one = ServingSettings(_env_file=None, cache=tmp_path)
    other = ServingSettings(_env_file=None, cache=tmp_path, channel="canary")
    folders = {one.cache_folder("/a"), one.cache_folder("/b"), other.cache_folder("/a")}
    assert len(folders) == 3
    assert all(folder.parent == tmp_path for folder in folders)


def test_workers_share_the_processors() -> None:
    assert ServingSettings(_env_file=None, workers=200).encoder_threads == 1
