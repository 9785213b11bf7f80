"""What a person waits for who runs the command line on a small catalogue: whole processes, by the clock.

    python -m tests.benchmarks.clock [--rounds 3] [--pictures 120] [--output clock.json]

Each command runs without a Prefect server, which it then starts for itself, and with one that is left standing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.results import add_output, write_result
from tests.support.pictures import drawing, write_catalogue
from tests.support.processes import command
from tests.support.servers import prefect_server


def seconds(folder: Path, flow: str, says: str, **variables: str) -> float:
    """Run a flow in a folder, and return how long its process took. Raises `SystemExit` unless it says so."""
    began = time.monotonic()
    done = command(folder, flow, "pictures", "--encoder", "fake", "--store", "store", **variables)
    took = time.monotonic() - began
    if done.returncode or says not in done.stdout:
        sys.exit(f"{flow} said something else:\n{done.stdout}\n{done.stderr}")
    return took


def measure(folder: Path, rounds: int, first: int, **variables: str) -> dict[str, list[float]]:
    """Return the times of a reindex when nothing changed, and of a refresh with one new product."""
    found: dict[str, list[float]] = {"nothing changed": [], "refresh of one product": []}
    for number in range(rounds):
        found["nothing changed"].append(seconds(folder, "reindex", "Nothing changed", **variables))
        drawing(first + number).save(folder / "pictures" / f"new-{first + number}.png")
        found["refresh of one product"].append(seconds(folder, "refresh", "Published", **variables))
        seconds(folder, "reindex", "Published", **variables)  # the next round begins with a full build, too
    return found


def table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Return the median and the range of each command, by the server that it had, as Markdown."""
    lines = ["| | " + " | ".join(figures) + " |", "|---|" + "---|" * len(figures)]
    for what in next(iter(figures.values())):
        cells = [
            f"{statistics.median(times[what]):.1f} s ({min(times[what]):.1f} to {max(times[what]):.1f})"
            for times in figures.values()
        ]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=120)
    add_output(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-clock-") as name:
        folder = Path(name)
        write_catalogue(folder / "pictures", options.pictures)
        alone = {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": ""}
        seconds(folder, "reindex", "Published", **alone)
        runs = {"a server of its own": measure(folder, options.rounds, 10_000, **alone)}
        with prefect_server(folder / "standing") as api:
            runs["a standing server"] = measure(folder, options.rounds, 20_000, PREFECT_API_URL=api)
    print(table(runs))  # noqa: T201
    if options.output:
        write_result(options.output, runs)


if __name__ == "__main__":
    main()
