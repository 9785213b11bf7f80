"""Settings from the environment: a bad one is reported under the name that people set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from lookalike.data.errors import InputError

S = TypeVar("S", bound=BaseSettings)

PREFIX = "LOOKALIKE_"
OF_PEOPLE = frozenset({"LOOKALIKE_API_KEY", "LOOKALIKE_URL", "LOOKALIKE_TIMEOUT", "LOOKALIKE_ACTOR"})
"""What `lookalike search` and the Python client read, and in whose name channels are moved."""

# Kubernetes sets these in every pod beside a service whose name begins with ours
_SERVICE_LINK = re.compile(r"LOOKALIKE_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


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


def list_variables(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """Yield each variable that says a setting, or a group of them as JSON."""
    for name, field in model.model_fields.items():
        yield str(getattr(field.validation_alias, "choices", [f"{prefix}{name.upper()}"])[0])
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from list_variables(field.annotation, f"{prefix}{name.upper()}__")


def describe_unknown(environment: Iterable[str], settings: Iterable[type[BaseSettings]]) -> Iterator[str]:
    """Yield a sentence for each variable with our prefix that no setting knows: it may be a slip."""
    every = (*OF_PEOPLE, *(name for model in settings for name in list_variables(model)))
    known = [name for name in every if name.startswith(PREFIX)]
    for variable in sorted(environment):
        name = variable.upper()
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name):
            ends = [one.removeprefix(PREFIX) for one in known]
            near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, 1)
            yield f"no setting is called {variable}" + (f": did you mean {PREFIX}{near[0]}?" if near else "")
