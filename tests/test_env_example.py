"""`.env.example` and the settings say the same."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from lookalike.cli.search import API_KEY
from lookalike.data.snapshots.documents import ACTOR
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.serving.settings import ServingSettings

FILE = Path(__file__).parents[1] / ".env.example"
FOREIGN = {"PREFECT_API_URL", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}


def documented() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", FILE.read_text(), re.MULTILINE))


def batch_variables(model: type[BaseModel] = BatchSettings, prefix: str = "LOOKALIKE_") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= batch_variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            variable = getattr(field.validation_alias, "choices", [f"{prefix}{name.upper()}"])[0]
            found[str(variable)] = "" if field.default is None else str(field.default)
    return found


def test_every_setting_stands_there_with_its_default() -> None:
    serving = {variable.name: variable.default for variable in ServingSettings.variables()}
    settings = {**batch_variables(), **serving}
    found = documented()
    assert {name: found.get(name) for name in settings} == settings


def test_nothing_stands_there_that_is_no_setting() -> None:
    known = {variable.name for variable in ServingSettings.variables()} | batch_variables().keys() | {API_KEY, ACTOR}
    assert documented().keys() - known == FOREIGN


def test_each_has_a_sentence() -> None:
    lines = FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#[A-Z]", line) and "=" in line:
            assert re.match(r"# \w.{10,}", lines[number - 1]), line
