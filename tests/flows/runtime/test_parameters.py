from __future__ import annotations

from typing import Annotated

from prefect.utilities.callables import parameter_schema
from pydantic import Field

from lookalike.flows.runtime.parameters import described

Colour = Annotated[str, Field(min_length=1, description="Which colour: `red`, or blue")]


def test_the_form_says_what_the_annotations_say() -> None:
    @described
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
    @described
    def rest(seconds: float) -> None:
        """Rest."""

    assert rest.__doc__ == "Rest."
