"""What a run starts from: where its channel points, and what can be built upon there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lookalike.data.errors import CorruptError, OutdatedFormatError, SnapshotNotFoundError
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest, read_manifest_document


@dataclass(frozen=True)
class Published:
    """What a channel points at when a run begins.

    Attributes:
        entry: the channel's newest entry, None while it is empty: publishing moves on from it, or loses the race.
        manifest: the snapshot there; None where there is none, or where it cannot be built upon: then the run builds
            everything again.
        encoder: the name of the last snapshot's encoder, empty where there is none. It outlives a snapshot as well.
        attribution: the credit for the pictures of the last snapshot. It outlives a snapshot that cannot be built
            upon, if its manifest can be read.
        problem: why the snapshot cannot be built upon; empty where it can.
    """

    entry: Entry | None = None
    manifest: Manifest | None = None
    encoder: str = ""
    attribution: str = ""
    problem: str = ""

    def why_held(self) -> str:
        """Return why a run leaves the channel alone; empty where none does."""
        if self.entry is None or not self.entry.held:
            return ""
        return (
            f"channel {self.entry.channel!r} is held at {self.entry.snapshot}, by {self.entry.moved_by} since "
            f"{self.entry.moved_at:%Y-%m-%d %H:%M}Z ({self.entry.reason}): runs do not publish until "
            f"`lookalike snapshots promote {self.entry.snapshot}` or another move lets them go on"
        )

    def without_manifest(self, problem: str) -> Published:
        """Return the same for a run that found out that the snapshot cannot be built upon."""
        return replace(self, manifest=None, problem=problem)


def read_published(channel: Channel) -> Published:
    """Return what a channel points at now. A lost, damaged or outdated one is a `problem`, and no error."""
    entry = channel.latest()
    if entry is None:
        return Published()
    try:
        manifest = read_manifest(channel.store, entry.snapshot)
    except OutdatedFormatError as error:
        document = read_manifest_document(channel.store, entry.snapshot)
        credit, encoder = document["catalogue"]["attribution"], document["encoder"]["name"]
        return Published(entry, encoder=encoder, attribution=credit, problem=str(error))
    except (CorruptError, SnapshotNotFoundError) as error:
        return Published(entry, problem=str(error))
    return Published(entry, manifest, manifest.encoder.name, manifest.catalogue.attribution)
