"""Results: what a benchmark measured, in a file. The docs' tables are written from the files in `docs/figures/`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import describe_machine
from tests.support.servers import ROOT

FIGURES = ROOT / "docs" / "figures"


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option for a file of results."""
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON; docs/figures/ has what docs show")


def write_result(path: Path, figures: Any) -> None:
    """Write figures with the command that measured them, and with what they depend on."""
    module = sys.modules["__main__"].__spec__
    name = module.name.removesuffix(".__main__") if module else Path(sys.argv[0]).name
    options = [one for one in sys.argv[1:] if not one.startswith("--output")]
    command = shlex.join(["python", "-m", name, *(one for one in options if one != str(path))])
    result = {
        "command": command,
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "figures": figures,
    }
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def describe_result(result: dict[str, Any]) -> str:
    """Return in a sentence what figures depend on."""
    machine = result["machine"]
    return (
        f"`{result['command']}`, on {result['measured']}, at commit {machine['commit']}, {machine['cores']} cores, "
        f"Python {machine['python']}, load {machine['load']:.1f} at the end."
    )
