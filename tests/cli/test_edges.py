"""What a command says where something around it is wrong or away: one sentence, in seconds, and never a traceback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lookalike.cli import cli
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.serving.settings import ServingSettings
from tests.support.pictures import write_catalogue
from tests.support.processes import command

NOBODY = "127.0.0.1:9"  # the port "discard", which nobody serves


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edges")
    write_catalogue(folder / "pictures", 12)
    return folder


REINDEX = ("reindex", "pictures", "--encoder", "fake", "--store", "store")


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "variables", "status", "says"),
    [
        (REINDEX, {"PREFECT_API_URL": f"http://{NOBODY}/api"}, 1, f"no Prefect server answers at http://{NOBODY}/api"),
        (REINDEX, {"LOOKALIKE_BATCH_WORKERS": "two"}, 2, "LOOKALIKE_BATCH_WORKERS cannot be used"),
        ((*REINDEX, "--channel", "Summer"), {}, 2, "'Summer' is no channel name"),
        (("reindex", "nowhere", "--store", "store"), {}, 2, "there is no catalogue at"),
        (("doctor", "--store", "s3://a/b"), {"AWS_ENDPOINT_URL": NOBODY}, 2, "AWS_ENDPOINT_URL is '127.0.0.1:9'"),
        (("serve", "--store", "ftp://a"), {}, 2, "is no store"),
        (("serve", "--store", "s3://a/b"), {"AWS_ENDPOINT_URL_S3": "minio"}, 2, "with http:// or https:// in front"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, dict) else None,
)
def test_a_sentence_and_no_traceback(
    arguments: tuple[str, ...], variables: dict[str, str], status: int, says: str, shop: Path
) -> None:
    began = time.monotonic()
    done = command(shop, *arguments, **variables)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    "arguments",
    [("reindex", "nowhere"), ("refresh", "nowhere"), ("serve", "--store", "ftp://a")],
    ids=lambda one: one[0],
)
def test_a_variable_that_is_no_setting_is_named(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    slip = {"LOOKALIKE_CHANEL": "summer", "LOOKALIKE_WORKERS": "1"}
    done = CliRunner().invoke(cli, arguments, env=slip)
    warning, error = done.stderr.splitlines()
    assert warning == "Warning: no setting is called LOOKALIKE_CHANEL: did you mean LOOKALIKE_CHANNEL?"
    assert (done.exit_code, error[:7]) == (2, "Error: ")


@pytest.mark.parametrize("settings", [BatchSettings, ServingSettings])
def test_every_setting_with_a_wrong_value_is_named(
    settings: type[BatchSettings | ServingSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What takes any text cannot be wrong here; all others are reported under the name that people set."""
    from lookalike.data.errors import InputError
    from lookalike.data.settings import read

    monkeypatch.chdir(tmp_path)
    silent = []
    for name, field in settings.model_fields.items():
        if field.annotation in {str, str | None, Path, Path | None} or hasattr(field.annotation, "model_fields"):
            continue
        alias = getattr(field.validation_alias, "choices", [None])[0]
        variable = str(alias or f"LOOKALIKE_{name.upper()}")
        with monkeypatch.context() as wrong:
            wrong.setenv(variable, "sideways")
            try:
                read(settings)
            except InputError as error:
                assert str(error).startswith(f"{variable} cannot be used: ")  # noqa: PT017 - one of many
            else:
                silent.append(variable)
    assert silent == []
