"""The request of a run: what a person asks for, completed from the settings. Nothing changes it while the run goes on.

The models are the parameters of the flows, too: `lookalike.flows.runtime.parameters` makes forms of them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL
from lookalike.flows.runtime.settings import BatchSettings, absolute
from lookalike.tasks.draft import Limits

DEFAULT_ENCODER = "efficientnet-lite0"


class RefreshParameters(BaseModel):
    """What a person may say of a refresh."""

    model_config = ConfigDict(frozen=True)

    catalogue: Annotated[
        str,
        Field(
            min_length=1,
            title="Catalogue",
            description="A folder of images, or a .csv, .jsonl or .parquet; a path, s3:// or (a file) https://",
        ),
    ]
    store: Annotated[
        str | None,
        Field(title="Store", description="Where snapshots live: a folder or s3://…; default: LOOKALIKE_STORE"),
    ] = None
    channel: Annotated[
        str, Field(title="Channel", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Which to publish to")
    ] = DEFAULT_CHANNEL
    encoder: Annotated[str, Field(title="Encoder", description="`lookalike encoders list` shows them")] = (
        DEFAULT_ENCODER
    )
    publish: Annotated[
        bool, Field(title="Publish", description="Point the channel at the new snapshot, if it is good enough")
    ] = True
    attribution: Annotated[
        str | None,
        Field(title="Attribution", description="Whom the pictures are owed to; default: as in the last snapshot"),
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
    full: Annotated[bool, Field(title="Full", description="Read every picture again, and train the index anew")] = False
    index_bytes: Annotated[
        int | None,
        Field(ge=1, title="Index bytes", description="Memory that the index may take; default: LOOKALIKE_INDEX_BYTES"),
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
        settings = BatchSettings()
        completed = {
            "store": absolute(parameters.store) if parameters.store else settings.absolute_store(),
            "limits": parameters.limits or Limits(),
            "policy": settings.fetch.policy(),
            "settings": settings,
        }
        return cls(**{"index_bytes": settings.index_bytes, **_given(parameters), **completed})

    @property
    def timeout_seconds(self) -> float:
        """How long the run may take."""
        return 60 * self.timeout_minutes


def _given(parameters: RefreshParameters) -> dict[str, object]:
    """Return the parameters that have a value."""
    return {name: value for name, value in parameters if value is not None}
