"""Conditions: filters as requests have them, as texts or in parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from lookalike.data.errors import FilterError
from lookalike.serving.errors import ProblemError, sentence
from lookalike.serving.query.fields import Number, RequestModel
from lookalike.tasks.search.filters import MEMBERSHIPS, PRESENCES, Condition, parse

MAX_FILTER_LENGTH = 4096
MAX_FILTER_VALUES = 1000

Scalar = StrictBool | StrictInt | Number | str


class ConditionRequest(RequestModel):
    """A condition in parts, where names or values hold what a text would need quotes for."""

    attribute: str
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "is null", "is not null"] = "="
    value: Scalar | Annotated[list[Scalar], Field(fail_fast=True)] | None = Field(
        None, description="A list for `in` and `not in`, none for `is null` and `is not null`."
    )


def read_condition(given: str | ConditionRequest) -> Condition:
    """Return a filter, read. Raises `ProblemError`."""
    condition = _parse_condition(given) if isinstance(given, str) else _build_condition(given)
    if len(condition.values) > MAX_FILTER_VALUES:
        detail = f"A filter has {len(condition.values)} values: send {MAX_FILTER_VALUES:,} at most."
        raise ProblemError("bad_filter", detail)
    return condition


def _build_condition(given: ConditionRequest) -> Condition:
    value, what = given.value, f"The filter on {given.attribute[:100]!r}"
    if given.operator in PRESENCES:
        if value is not None:
            raise ProblemError("bad_filter", f"{what} has a value, and `{given.operator}` takes none.")
        return Condition(given.attribute, given.operator)
    if given.operator in MEMBERSHIPS:
        if not isinstance(value, list) or not value:
            raise ProblemError("bad_filter", f"{what}: `{given.operator}` takes a list of values.")
        return Condition(given.attribute, given.operator, tuple(_as_text(one) for one in value))
    if value is None:
        raise ProblemError("bad_filter", f"{what} has no value: `is null` asks for products without one.")
    if isinstance(value, list):
        raise ProblemError("bad_filter", f"{what} has a list of values: write `in`, or send one value.")
    return Condition(given.attribute, given.operator, (_as_text(value),))


def _as_text(value: bool | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_condition(text: str) -> Condition:
    if len(text) > MAX_FILTER_LENGTH:
        raise ProblemError("bad_filter", f"A filter has more than {MAX_FILTER_LENGTH} letters: send a shorter one.")
    try:
        return parse(text)
    except FilterError as error:
        raise ProblemError("bad_filter", sentence(str(error))) from error
