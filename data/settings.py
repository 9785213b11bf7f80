"""Settings from the environment: a bad one is reported under the name that people set."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from lookalike.data.errors import InputError

S = TypeVar("S", bound=BaseSettings)


def read(settings: type[S], **given: Any) -> S:
    """Return the settings that the environment, `.env` and `given` say. Raises `InputError` for a bad one."""
    try:
        return settings(**given)
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        complaints = (_complaint(found, prefix) for found in error.errors(include_url=False))
        raise InputError("; ".join(complaints)) from error
    except SettingsError as error:
        raise InputError(f"a setting cannot be read: {error}") from error


def _complaint(error: ErrorDetails, prefix: str) -> str:
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"the settings do not fit together: {said}"
    name = "__".join(str(part) for part in error["loc"]).upper()
    is_alias = str(error["loc"][0]).isupper()  # such as DASK_SCHEDULER_ADDRESS, which others read, too
    return f"{name if is_alias else prefix + name} cannot be used: {said}"
