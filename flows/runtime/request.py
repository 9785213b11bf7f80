"""The request of a run: what a person asks for, completed from the settings. Nothing changes it while the run goes on.

The models are the parameters of the flows, too: `takes` makes forms of the Prefect UI of them, which say what each
parameter is for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from lookalike.data.catalogue.files.source import shown_location
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.settings import read
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL
from lookalike.flows.runtime.settings import BatchSettings, absolute
from lookalike.tasks.encoders.precision.names import Precision
from lookalike.tasks.gate import Limits

DEFAULT_ENCODER = "efficientnet-lite0"

Model = TypeVar("Model", bound=BaseModel)
P = ParamSpec("P")
R = TypeVar("R")


class RefreshParameters(BaseModel):
    """What a person may say of a refresh."""

    model_config = ConfigDict(frozen=True)

    catalogue: Annotated[
        str,
        Field(
            min_length=1,
            title="Catalogue",
            description="A folder of pictures, or a table as CSV, JSONL or Parquet; a path, s3:// or (a table) https://",
        ),
    ]
    columns: Annotated[
        str | None,
        Field(
            title="Columns",
            description="Which column is which, and of which type: id=Artikelnr,image=Bild,price=Preis:decimal_comma",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        Field(title="Encoding", description="How the catalogue was saved, such as cp1250; default: found by its bytes"),
    ] = None
    store: Annotated[
        str | None,
        Field(title="Store", description="Where snapshots live: a folder or s3://…; default: LOOKALIKE_STORE"),
    ] = None
    channel: Annotated[
        str, Field(title="Channel", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Which to publish to")
    ] = DEFAULT_CHANNEL
    encoder: Annotated[
        str | None,
        Field(
            title="Encoder",
            description=f"See `lookalike encoders list`; default: as in the last snapshot, else {DEFAULT_ENCODER}",
        ),
    ] = None
    precision: Annotated[
        Precision | None,
        Field(
            title="Precision",
            description="Of the encoder: int8 and bfloat16 are faster where the processor has them; default: as before",
        ),
    ] = None
    text_encoder: Annotated[
        str | None,
        Field(
            title="Text encoder",
            description="See `lookalike encoders list --texts`, or none; default: as in the last snapshot, else none",
        ),
    ] = None
    text_fields: Annotated[
        str | None,
        Field(
            title="Text fields",
            description="What of a product is encoded: title, and attributes such as title,brand; default: as before",
        ),
    ] = None
    publish: Annotated[
        bool, Field(title="Publish", description="Point the channel at the new snapshot, if it is good enough")
    ] = True
    attribution: Annotated[
        str | None,
        Field(title="Attribution", description="The credit for the pictures; default: as in the last snapshot"),
    ] = None
    limits: Annotated[
        Limits | None,
        Field(title="Limits", description="What a snapshot must reach to be published; default: sane ones"),
    ] = None
    timeout_minutes: Annotated[
        float, Field(gt=0, title="Timeout", description="Minutes after which the run gives up")
    ] = 60


class ReindexParameters(RefreshParameters):
    """What a person may say of a reindex: of a refresh, and of a full build."""

    timeout_minutes: Annotated[
        float, Field(gt=0, title="Timeout", description="Minutes after which the run gives up")
    ] = 24 * 60
    shards: Annotated[
        int | None, Field(ge=1, title="Shards", description="Parts of the index; default: by the catalogue's size")
    ] = None
    full: Annotated[
        bool, Field(title="Full", description="Read every picture again, and train the index from scratch")
    ] = False
    index_bytes: Annotated[
        int | None,
        Field(ge=1, title="Index bytes", description="Memory that the index may take; default: LOOKALIKE_INDEX_BYTES"),
    ] = None
    index_dimensions: Annotated[
        int | None,
        Field(
            ge=32,
            title="Index dimensions",
            description="Of its vectors, at most: 128 takes half the memory; default: LOOKALIKE_INDEX_DIMENSIONS",
        ),
    ] = None


class Request(ReindexParameters):
    """What was asked for, with all that was left out.

    Attributes:
        store: as workers in other folders understand it, and always under the same name.
        policy: what may be fetched.
        settings: those of this machine when the run began.
    """

    store: str
    limits: Limits
    policy: FetchPolicy
    settings: BatchSettings

    @classmethod
    def of(cls, parameters: RefreshParameters) -> Request:
        """Complete a flow's parameters from the settings. Raises `InputError`."""
        settings = read(BatchSettings)
        completed = {
            "store": absolute(parameters.store) if parameters.store else settings.absolute_store(),
            "limits": parameters.limits or Limits(),
            "policy": settings.fetch.policy(),
            "settings": settings,
        }
        usual = {"index_bytes": settings.index_bytes, "index_dimensions": settings.index_dimensions}
        return cls(**{**usual, **_given_values(parameters), **completed})

    @property
    def shown_catalogue(self) -> str:
        """The catalogue's path or address as reports and snapshots may have it: without a token."""
        return shown_location(self.catalogue)

    @property
    def timeout_seconds(self) -> float:
        """How long the run may take."""
        return 60 * self.timeout_minutes


def _given_values(parameters: RefreshParameters) -> dict[str, object]:
    """Return the parameters that have a value."""
    return {name: value for name, value in parameters if value is not None}


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
