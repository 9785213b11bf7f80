"""The forms of the Prefect UI, from the annotations of a flow's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

P = ParamSpec("P")
R = TypeVar("R")


def described(function: Callable[P, R]) -> Callable[P, R]:
    """Add what `Field(description=…)` says of each parameter to a flow's docstring; put it below `@flow`.

    Prefect 3.8.8 takes limits and patterns from annotations, but descriptions from the docstring only.
    """
    hints = get_type_hints(function, include_extras=True)
    # a worker loads a flow in a way that Prefect cannot find what annotations name: so they are what they mean
    function.__annotations__ = hints
    lines = [f"    {name}: {text}" for name, hint in hints.items() if (text := _description(hint))]
    if lines:
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *lines])
    return function


def _description(hint: Any) -> str | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((one.description for one in get_args(hint)[1:] if isinstance(one, FieldInfo)), None)
