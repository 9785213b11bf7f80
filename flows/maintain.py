"""The maintain flow: read every byte of what is served, and remove what nothing needs any more."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from lookalike.data.durations import duration
from lookalike.data.errors import CorruptError, LookalikeError
from lookalike.data.settings import read
from lookalike.data.snapshots.channels import list_channels
from lookalike.data.snapshots.gc import Retention
from lookalike.data.stores import ObjectStore, open_store
from lookalike.flows.reporting.maintenance import Maintenance, describe_damage, failure_message, show_maintenance
from lookalike.flows.reporting.notifications import tell
from lookalike.flows.runtime.request import describe_parameters
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.flows.stages.maintain import collect, verify_channel


@flow(name="maintain", persist_result=False, validate_parameters=True)
@describe_parameters
def maintain(
    store: Annotated[
        str | None,
        Field(description="The store to look after; default: the worker's setting LOOKALIKE_STORE"),
    ] = None,
    channel: Annotated[
        str | None,
        Field(description="The channel to verify; default: all. What is removed depends on all of them"),
    ] = None,
    keep: Annotated[int, Field(ge=1, description="How many of each channel's last entries keep their snapshots")] = 10,
    grace: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,9}[smhd]$",
            description="Keep all that is younger, such as 24h or 7d: longer than a reindex and a server's fetch take",
        ),
    ] = "24h",
    time_limit: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,9}[smhd]$",
            description="Begin no removal after so long, such as 30m or 2h: what is left goes the next time",
        ),
    ] = "1h",
    dry_run: Annotated[bool, Field(description="Only say what would be removed")] = False,
    verify: Annotated[bool, Field(description="Read every byte of what each channel points at")] = True,
) -> Maintenance:
    """Verify what is served and remove what nothing needs any more.

    Fails, and notifies, where a file is damaged or missing, and where it cannot be told what is needed: then nothing
    is removed.
    """
    settings = read(BatchSettings)
    opened = open_store(store or settings.absolute_store())
    try:
        verified = [verify_channel(opened, name) for name in _choose_channels(opened, channel)] if verify else []
        removed = collect(opened, Retention(entries=keep, grace=duration(grace)), duration(time_limit), dry_run)
        done = Maintenance(
            dry_run=dry_run,
            verified=verified,
            snapshots_removed=len(removed.snapshots),
            objects_removed=len(removed.objects),
            objects_left=len(removed.left),
            bytes_freed=removed.freed,
        )
        show_maintenance(done)
        if problems := done.problems():
            raise CorruptError(describe_damage(problems))
    except (LookalikeError, OSError) as error:
        tell(failure_message(opened.uri, error), settings.notify_blocks())
        raise
    return done


def _choose_channels(store: ObjectStore, channel: str | None) -> list[str]:
    return [channel] if channel else list_channels(store)
