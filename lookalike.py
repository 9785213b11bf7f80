"""The command line: one verb for each thing that a person does."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
