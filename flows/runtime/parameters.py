"""The forms of the Prefect UI: a flow's parameters, and what each is for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Model = TypeVar("Model", bound=BaseModel)
P = ParamSpec("P")
R = TypeVar("R")


def takes(model: type[Model]) -> Callable[[Callable[[Model], R]], Callable[..., R]]:
    """Give a flow each field of a model as a parameter of its own; put it below `@flow`.

    Deployments, schedules and forms then name them one by one, and the flow gets the model.
    """
    hints = get_type_hints(model, include_extras=True)
    parameters = [
        Parameter(
            name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if field.is_required() else field.default,
            annotation=hints[name],
        )
        for name, field in model.model_fields.items()
    ]

    def decorate(function: Callable[[Model], R]) -> Callable[..., R]:
        signature = inspect.Signature(parameters, return_annotation=get_type_hints(function)["return"])

        @wraps(function)
        def with_parameters(*args: Any, **kwargs: Any) -> R:
            return function(model(**signature.bind(*args, **kwargs).arguments))

        with_parameters.__signature__ = signature  # type: ignore[attr-defined]  # `inspect` looks for it, and Prefect asks `inspect`
        with_parameters.__annotations__ = {one.name: one.annotation for one in parameters}
        return describe_parameters(with_parameters)

    return decorate


def describe_parameters(function: Callable[P, R]) -> Callable[P, R]:
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
