"""`python -m lookalike` is the command line."""

from __future__ import annotations

from lookalike.cli import main

main()
