"""A stage: a step of a run, which counts the time it takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from flows.run import Run
from flows.steps import step

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str) -> Callable[[Callable[Concatenate[Run, P], R]], Callable[Concatenate[Run, P], R]]:
    """Make a function a stage: a Prefect task that runs where the flow runs, and puts its work on Dask."""

    def decorate(function: Callable[Concatenate[Run, P], R]) -> Callable[Concatenate[Run, P], R]:
        @wraps(function)
        def timed(run: Run, *args: P.args, **kwargs: P.kwargs) -> R:
            with run.timed(name):
                return function(run, *args, **kwargs)

        return cast("Callable[Concatenate[Run, P], R]", step(name)(timed))

    return decorate
