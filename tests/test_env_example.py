"""`.env.example` and the settings say the same."""

from __future__ import annotations

import re
from pathlib import Path

from flows.settings import BatchSettings
from serving.settings import ServingSettings

FILE = Path(__file__).parents[1] / ".env.example"
FOREIGN = {"PREFECT_API_URL", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}


def documented() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", FILE.read_text(), re.MULTILINE))


def batch_variables() -> dict[str, str]:
    names = {
        name: getattr(field.validation_alias, "choices", [f"LOOKALIKE_{name.upper()}"])[0]
        for name, field in BatchSettings.model_fields.items()
    }
    return {
        str(names[name]): "" if field.default is None else str(field.default)
        for name, field in BatchSettings.model_fields.items()
    }


def test_every_setting_stands_there_with_its_default() -> None:
    serving = {variable.name: variable.default for variable in ServingSettings.variables()}
    settings = {**batch_variables(), **serving}
    found = documented()
    assert {name: found.get(name) for name in settings} == settings


def test_nothing_stands_there_that_is_no_setting() -> None:
    known = {variable.name for variable in ServingSettings.variables()} | batch_variables().keys()
    assert documented().keys() - known == FOREIGN


def test_each_has_a_sentence() -> None:
    lines = FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#[A-Z]", line) and "=" in line:
            assert re.match(r"# \w.{10,}", lines[number - 1]), line
