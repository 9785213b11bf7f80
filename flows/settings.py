"""Settings of the batch side: where results go, and on what they are computed."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class BatchSettings(BaseSettings):
    """What a reindex takes from its environment; the flow's parameters say the rest."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_", env_nested_delimiter="__", env_file=".env", extra="ignore"
    )

    store: str = Field("./.lookalike", description="Where snapshots live: a folder, or s3://bucket/prefix")
    dask_scheduler_address: str | None = Field(
        None,
        validation_alias=AliasChoices("DASK_SCHEDULER_ADDRESS"),
        description="A running Dask scheduler, such as tcp://10.0.0.5:8786; without one, each run starts its own",
    )
    batch_workers: int | None = Field(
        None, ge=1, description="Worker processes of a run that starts its own; default: one for each core"
    )
    batch_partition: int = Field(256, ge=1, description="Pictures that a worker takes at a time")

    def absolute_store(self) -> str:
        """Return the store so that workers in other folders understand it."""
        return absolute(self.store)


def absolute(location: str) -> str:
    """Return a path as workers in other folders understand it; a URI as it is."""
    return location if "://" in location else str(Path(location).expanduser().resolve())
