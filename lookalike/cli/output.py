"""What the verbs share: their options, how an error ends one, and how a value is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from lookalike.data.errors import InputError, LookalikeError
from lookalike.data.printable import escape_controls

if TYPE_CHECKING:
    from lookalike.data.snapshots.channels import Channel

P = ParamSpec("P")

SNAPSHOT_STORE = "./.lookalike"
CHANNEL = "current"

store_option = click.option(
    "--store",
    envvar="LOOKALIKE_STORE",
    default=SNAPSHOT_STORE,
    show_default=True,
    help="Where snapshots live: a folder, or s3://bucket/prefix.",
)
channel_option = click.option(
    "--channel", envvar="LOOKALIKE_CHANNEL", default=CHANNEL, show_default=True, help="Which channel."
)
attribution_option = click.option(
    "--attribution", help="The credit for the pictures, for the search page; default: as in the last snapshot."
)
output_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people or machines."
)


def report_errors(function: Callable[P, None]) -> Callable[P, None]:
    """End with a sentence instead of a traceback where an error is one of ours."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except LookalikeError as error:
            say(f"Error: {error}", err=True)
            sys.exit(2 if isinstance(error, InputError) else 1)

    return run


def say(text: str, *, err: bool = False) -> None:
    """Print lines. What a catalogue or a server wrote cannot move the cursor, or hide what stands there."""
    click.echo(escape_controls(text, keep="\n\t"), err=err)


def warn_of_unknown_settings() -> None:
    """Say which variables of the environment look like settings and are none; they would be ignored in silence."""
    from lookalike.data.settings import describe_unknown
    from lookalike.serving.settings import ServingSettings

    if not any(describe_unknown(os.environ, [ServingSettings])):
        return
    from lookalike.flows.runtime.settings import BatchSettings  # a server that needs no answer spares 36 MB

    for sentence in describe_unknown(os.environ, (BatchSettings, ServingSettings)):
        say(f"Warning: {sentence}", err=True)


def open_channel(store: str, channel: str) -> Channel:
    from lookalike.data.snapshots.channels import Channel
    from lookalike.data.stores import open_store

    return Channel(open_store(store), channel)


def print_value(value: Any, output: str) -> None:
    """Print a value as JSON, or a mapping as lines for people."""
    if output == "json":
        say(json.dumps(value, ensure_ascii=False, indent=2, default=str))
        return
    for name, item in value.items():
        say(f"{name:<13} {escape_controls(str(item))}")
