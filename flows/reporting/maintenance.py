"""The report of a maintenance: what it did, as a table in the Prefect UI and as a message to people."""

from __future__ import annotations

from prefect.artifacts import create_table_artifact
from pydantic import BaseModel

from lookalike.flows.reporting.artifacts import NOTHING, cell, for_show, size
from lookalike.flows.reporting.notifications import Message, link

SHOWN_PROBLEMS = 10


class Verified(BaseModel):
    """What a channel points at, and a sentence for each of its files that is missing or damaged."""

    channel: str
    snapshot: str
    files: int
    bytes: int
    problems: list[str]


class Maintenance(BaseModel):
    """What a maintenance did. With `dry_run`, nothing was removed: the figures say what would be.

    `objects_left` had to be left for the next time: the time limit was reached.
    """

    dry_run: bool
    verified: list[Verified]
    snapshots_removed: int
    objects_removed: int
    objects_left: int
    bytes_freed: int

    def problems(self) -> list[str]:
        """Return a sentence for each damaged file, which says where it was found."""
        return [
            f"channel {one.channel!r}, snapshot {one.snapshot}: {text}"
            for one in self.verified
            for text in one.problems
        ]


@for_show
def show_maintenance(done: Maintenance) -> None:
    """Show what was done, as a table."""
    rows = [
        {
            "what": f"channel {cell(one.channel)}",
            "snapshot": one.snapshot,
            "files": f"{one.files:,}",
            "size": size(one.bytes),
            "result": cell("; ".join(one.problems[:SHOWN_PROBLEMS])) or "every byte as promised",
        }
        for one in done.verified
    ]
    rows.append(
        {
            "what": "would be removed" if done.dry_run else "removed",
            "snapshot": f"{done.snapshots_removed:,} snapshots",
            "files": f"{done.objects_removed:,}",
            "size": size(done.bytes_freed),
            "result": f"{done.objects_left:,} files are left for the next time" if done.objects_left else NOTHING,
        }
    )
    create_table_artifact(
        rows, key="maintenance", description="What is served, read byte by byte; and what was removed"
    )


def describe_damage(problems: list[str]) -> str:
    """Return one sentence about what is damaged."""
    more = f" … and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return f"what is served is damaged: {'; '.join(problems[:SHOWN_PROBLEMS])}{more}"


def failure_message(store: str, error: Exception) -> Message:
    """Return what to tell people of a maintenance that failed."""
    url = link()
    lines = [
        f"{error}",
        f"The store: {store}. Servers that run go on from their own copies; one that starts now may not.",
        "Roll back to a snapshot that is whole (the flow `rollback`), or run a full reindex: it makes what is missing.",
        *([f"The run: {url}"] if url else []),
    ]
    return Message("Lookalike: maintenance failed", "\n".join(lines))
