from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lookalike.serving.settings import ServingSettings


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
    settings = ServingSettings(_env_file=None, workers=200)

    assert (settings.encoder_threads, settings.lanes) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ACCESS__JWT_ISSUER": "https://id.example"}, "both jwt_issuer and jwt_audience"),
        ({"ACCESS__JWT_AUDIENCE": "shop"}, "both jwt_issuer and jwt_audience"),
        ({"ACCESS__JWT_ISSUER": "http://id.example", "ACCESS__JWT_AUDIENCE": "shop"}, "must be an https address"),
        ({"ACCESS__JWT_ISSUER": "file:///etc/passwd", "ACCESS__JWT_AUDIENCE": "shop"}, "must be an https address"),
        ({"ACCESS__JWT_SEARCH_SCOPE": "admin"}, "must differ"),
        ({"ADMIN_PORT": "8000"}, "another port"),
    ],
)
def test_access_that_would_not_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], says: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(ValidationError, match=says):
        read()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_this_machine_is_not_exposed(host: str) -> None:
    assert not ServingSettings(_env_file=None, host=host).is_exposed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "shop.example", ""])
def test_anything_else_is(host: str) -> None:
    assert ServingSettings(_env_file=None, host=host).is_exposed
