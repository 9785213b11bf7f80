"""Settings of the batch side: where results go, and on what they are computed."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lookalike.data.fetch.policy import FetchSettings, split_list
from lookalike.tasks.embed.work import Device


class BatchSettings(BaseSettings):
    """What a reindex takes from its environment; the flow's parameters say the rest."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_",
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    store: str = Field("./.lookalike", description="Where snapshots live: a folder, or s3://bucket/prefix")
    traces: bool = Field(False, description="Send OpenTelemetry traces, where OTEL_… variables say")
    dask_scheduler_address: str | None = Field(
        None,
        validation_alias=AliasChoices("DASK_SCHEDULER_ADDRESS"),
        description="A running Dask scheduler, such as tcp://10.0.0.5:8786; without one, each run starts its own",
    )
    embed_device: Device = Field(
        "cpu", description="What embeds: cpu, or cuda where each worker that embeds has a GPU (torch, half precision)"
    )
    dask_embed_resources: str = Field(
        "", description="Dask resources that a worker must have to embed, such as GPU=1; default: any worker embeds"
    )
    dask_patience_seconds: float = Field(
        600.0,
        gt=0,
        description="How long a run waits for a Dask worker where there is none, such as while it scales up",
    )
    batch_workers: int | None = Field(
        None, ge=1, description="Worker processes of a run that starts its own; default: one for each core"
    )
    batch_partition: int = Field(1024, ge=1, description="Most pictures that a worker takes at a time")
    batch_partition_bytes: int = Field(
        256 * 2**20, ge=1, description="Most bytes of pictures that a worker takes at a time"
    )
    index_bytes: int | None = Field(
        None, ge=1, description="Memory that the index of a snapshot may take, in bytes; default: any"
    )
    index_dimensions: int | None = Field(
        None,
        ge=32,
        description="Dimensions of the indexed vectors, at most; default: as in the last snapshot, or 256",
    )
    distorted_pictures: int = Field(
        150, ge=0, description="Pictures, at most, of which distorted copies are embedded to learn from; 0: none"
    )
    fetch: FetchSettings = FetchSettings()
    notify: str = Field(
        "", description="Prefect blocks to tell of failures, refusals and recoveries, such as slack-webhook/ops"
    )
    metrics_textfile: str | None = Field(
        None, description="A folder that node-exporter's textfile collector reads; default: no such metrics"
    )
    metrics_pushgateway: str | None = Field(
        None, description="A Prometheus push gateway, such as http://10.0.0.7:9091; default: no such metrics"
    )
    search_url: str | None = Field(
        None, description="Where the search page answers, for links in the Prefect UI, such as http://10.0.0.9:8000"
    )

    words: bool = Field(
        True, description="Let products be found by the words of their titles and attributes: a reindex builds an index"
    )
    colours: bool = Field(
        True, description="Measure the colours of pictures, so that products are found, filtered and counted by them"
    )
    near_duplicates: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Score from which two pictures are near-duplicates; default: a measured one; 0: none",
    )

    @field_validator("dask_embed_resources")
    @classmethod
    def _resources(cls, value: str) -> str:
        _parse_resources(value)
        return value

    def embed_resources(self) -> dict[str, float]:
        """Return what embedding takes of a worker's resources, as Dask wants it; nothing where any worker will do."""
        return _parse_resources(self.dask_embed_resources)

    def notify_blocks(self) -> list[str]:
        """Return the names of the blocks to notify."""
        return list(split_list(self.notify))

    def absolute_store(self) -> str:
        """Return the store so that workers in other folders understand it."""
        return absolute(self.store)


def _parse_resources(text: str) -> dict[str, float]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    try:
        return {name.strip(): float(amount) for name, _, amount in pairs}
    except ValueError:
        raise ValueError(f"{text!r} names no resources: write such as GPU=1, or GPU=1,MEMORY=8e9") from None


def absolute(location: str) -> str:
    """Return a path as workers in other folders understand it, and a store always under the same name."""
    scheme, separator, rest = location.partition("://")
    if separator and scheme != "file":
        return f"{scheme}://{rest.rstrip('/')}"
    return str(Path(rest if separator else location).expanduser().resolve())
