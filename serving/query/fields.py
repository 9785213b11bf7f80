"""Fields: what the objects of requests are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

UNKNOWN_FIELD = "unknown_field"  # pydantic's type of that error

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]


def as_list(value: Any) -> Any:
    """One is as good as a list of it, and null as none."""
    return [value] if isinstance(value, str | dict) else [] if value is None else value


Texts = Annotated[list[str], Field(fail_fast=True), BeforeValidator(as_list)]


class RequestModel(BaseModel):
    """An object of a request. Checking it stops at the first fault: a body may have a million of them.

    For the same reason each list in a request fails fast.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        unknown = (
            next((name for name in given if name not in cls.model_fields), None) if isinstance(given, dict) else None
        )
        if unknown is not None:
            raise PydanticCustomError(UNKNOWN_FIELD, "unknown field", {"name": unknown})
        return given
