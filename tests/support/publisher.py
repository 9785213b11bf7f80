"""A process that publishes, for tests that kill it: `python -m tests.support.publisher STORE …`."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lookalike.data.errors import ChannelConflictError
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.publishing import Step, publish
from lookalike.data.stores import open_store
from tests.support.snapshots import draft

UPLOADED = "uploaded"
STEPS = (UPLOADED, *Step)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish a snapshot so many times; print a line for each: its number, or that the race was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--name", default="publisher")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--die-after", choices=STEPS, help="end like kill -9 does, right after this step")
    options = parser.parse_args(arguments)
    for number in range(options.rounds):
        sys.stdout.write(f"{_publish(options.store, f'{options.name}-{number}', options.die_after)}\n")
        sys.stdout.flush()
    return 0


def _publish(store: str, name: str, die_after: str | None) -> str:
    def on_step(step: str) -> None:
        if step == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    opened = open_store(store)
    channel = Channel(opened)
    after = channel.latest()
    manifest = draft(opened, ["shared", name], run=name)
    on_step(UPLOADED)
    try:
        entry = publish(channel, manifest, after=after, reason=name, on_step=on_step)
    except ChannelConflictError:
        return f"lost {manifest.id}"
    return f"won {entry.number} {manifest.id}"


@contextmanager
def publishers(
    store: str, count: int, *arguments: str, name: str = "p", output: int = subprocess.PIPE
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that publish; end those that are left at the end."""
    command = [sys.executable, "-m", "tests.support.publisher", store, *arguments]
    started = [
        subprocess.Popen([*command, "--name", f"{name}{number}"], stdout=output, text=True) for number in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
