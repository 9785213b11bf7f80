from __future__ import annotations

from typing import Annotated

import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, Field, ValidationError

from lookalike.flows.runtime.request import describe_parameters, takes

pytestmark = pytest.mark.slow  # Prefect takes seconds to import

Colour = Annotated[str, Field(min_length=1, description="Which colour: `red`, or blue")]


def test_the_form_says_what_the_annotations_say() -> None:
    @describe_parameters
    def paint(
        colour: Colour,
        size: Annotated[int | None, "metres", Field(ge=1, description="How large")] = None,
        plain: int = 1,
    ) -> None:
        """Paint something.

        It takes a while.
        """

    schema = parameter_schema(paint)
    assert {name: one.get("description") for name, one in schema.properties.items()} == {
        "colour": "Which colour: `red`, or blue",
        "size": "How large",
        "plain": None,
    }
    assert schema.properties["colour"]["minLength"] == 1
    assert (paint.__doc__ or "").startswith("Paint something.\n\nIt takes a while.\n\nArgs:\n    colour: Which")


def test_a_flow_without_descriptions_is_left_as_it_is() -> None:
    @describe_parameters
    def rest(seconds: float) -> None:
        """Rest."""

    assert rest.__doc__ == "Rest."


class Small(BaseModel):
    colour: Colour
    size: Annotated[int, Field(ge=1, description="How large")] = 1


class Large(Small):
    size: Annotated[int, Field(ge=1, description="How large")] = 100
    frame: bool = False


def test_a_flow_takes_each_field_of_a_model_and_is_given_the_model() -> None:
    @takes(Large)
    def paint(parameters: Large) -> Large:
        """Paint something."""
        return parameters

    schema = parameter_schema(paint)
    assert list(schema.properties) == ["colour", "size", "frame"]
    assert schema.required == ["colour"]
    assert schema.properties["size"]["default"] == 100
    assert schema.properties["size"]["minimum"] == 1
    assert schema.properties["colour"]["description"] == "Which colour: `red`, or blue"
    assert paint("red", frame=True) == Large(colour="red", size=100, frame=True)
    assert paint(colour="red", size=3) == Large(colour="red", size=3)
    with pytest.raises(ValidationError):
        paint("red", size=0)
    with pytest.raises(TypeError, match="colours"):
        paint("red", colours="red")
