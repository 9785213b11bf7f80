"""A stage: a step of a run, which counts the time it takes.

A step: a Prefect task that runs where the flow runs; what the store failed at is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from lookalike.data.errors import StoreUnavailableError
from lookalike.data.stores.retry import Backoff
from lookalike.flows.runtime.run import Run

RETRIES = 5
BACKOFF = Backoff(4.0, longest=60.0, jitter=0.0)  # two minutes in all

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step, called as before; its result stays in the process: what must last lies in our store."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=[BACKOFF.seconds(failures) for failures in range(1, RETRIES + 1)],
        retry_condition_fn=_worth_another_try,
    )


def _worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), StoreUnavailableError | OSError)


def stage(name: str) -> Callable[[Callable[Concatenate[Run, P], R]], Callable[Concatenate[Run, P], R]]:
    """Make a function a stage: a Prefect task that runs where the flow runs, and puts its work on Dask."""

    def decorate(function: Callable[Concatenate[Run, P], R]) -> Callable[Concatenate[Run, P], R]:
        @wraps(function)
        def timed(run: Run, *args: P.args, **kwargs: P.kwargs) -> R:
            with run.journal.time_stage(name):
                return function(run, *args, **kwargs)

        return cast("Callable[Concatenate[Run, P], R]", step(name)(timed))

    return decorate
