"""Results: what a benchmark measured, in a file. The docs' tables are written from the files in `docs/figures/`."""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import describe_machine
from tests.support.servers import ROOT

FIGURES = ROOT / "docs" / "figures"
OUTPUT = "--output"


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option for a file of results."""
    parser.add_argument(OUTPUT, type=Path, help="a file for the figures, as JSON; docs/figures/ has what docs show")


def write_result(path: Path, figures: Any) -> None:
    """Write figures with the command that measured them, and with what they depend on."""
    module = sys.modules["__main__"].__spec__
    name = module.name.removesuffix(".__main__") if module else Path(sys.argv[0]).name
    command = shlex.join(["python", "-m", name, *_without_output(sys.argv[1:])])
    result = {
        "command": command,
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "figures": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _without_output(options: Sequence[str]) -> list[str]:
    """Leave out where the result is written: it says nothing of what was measured."""
    before = ["", *options]
    return [one for last, one in zip(before, options, strict=False) if OUTPUT not in (last, one.partition("=")[0])]


def read_result(name: str) -> dict[str, Any]:
    """Return a result that docs show."""
    result: dict[str, Any] = json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))
    return result


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [_write_row(columns), "|---" * len(columns) + "|", *map(_write_row, rows)]
    return "\n".join(lines)


def _write_row(cells: Sequence[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median of several rounds, with the least and the most."""
    middle, least, most = (f"{one:,.{digits}f}" for one in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def percent(share: float, digits: int = 0) -> str:
    """Return a share of 1 as it is written in docs."""
    return f"{100 * share:.{digits}f} %"


def describe_result(result: dict[str, Any]) -> str:
    """Return in a sentence what figures depend on."""
    machine = result["machine"]
    return (
        f"`{result['command']}`, on {result['measured']}, at commit {machine['commit']}, {machine['cores']} cores, "
        f"Python {machine['python']}, load {machine['load']:.1f} at the end."
    )
