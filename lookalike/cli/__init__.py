"""The command line: one verb for each thing that a person does.

Data goes to standard output, progress to standard error. Exit codes: 0 done, 1 it failed, 2 it was asked wrongly. Each
verb imports what it needs only when it runs, so that `lookalike --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click
from dotenv import load_dotenv

from lookalike.cli.encoders import encoders
from lookalike.cli.keys import keys
from lookalike.cli.reindex import refresh, reindex
from lookalike.cli.search import search
from lookalike.cli.serve import demo, serve
from lookalike.cli.snapshots import doctor, snapshots


def main() -> None:
    """Run the command line, with what `.env` in the current folder sets."""
    load_dotenv(Path(".env"))
    cli(prog_name="lookalike")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lookalike")
def cli() -> None:
    """Lookalike: find what looks like this, in your own catalogue."""


for _command in (demo, reindex, refresh, serve, search, snapshots, doctor, encoders, keys):
    cli.add_command(_command)
