"""What moved between two commits, beyond the noise of the machine: both are measured in turn, in one run.

    python -m tests.benchmarks.compare BASE [--rounds 10] [--output compare.json]

BASE is a commit; the other side is this checkout as it is. Figures are seconds of a core, so that a busy machine does
not matter much. Ends with 1 if something is slower.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import rates
from tests.benchmarks.compare import work
from tests.benchmarks.compare.noise import Comparison, compare
from tests.benchmarks.machine import describe_commit, describe_machine
from tests.support.servers import ROOT

Figures = Mapping[str, float]
Side = Callable[[], Figures]


@contextmanager
def check_out(commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out into a folder, and remove it afterwards."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=True)


def ask(server: rates.Served) -> Figures:
    """Return seconds of a core for a request of each kind."""
    return {
        f"request: {kind}": rates.measure(server, bodies).core_ms / 1000 for kind, bodies in rates.requests().items()
    }


def run(before: Side, after: Side, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Measure both sides in each round, and change which of them is first. The first round does not count."""
    found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number in range(rounds + 1):
        sides = [(0, before), (1, after)]
        for place, measure in sides if number % 2 else reversed(sides):
            for name, seconds in measure().items():
                found[name][place].append(seconds)
    return {name: (old[1:], new[1:]) for name, (old, new) in found.items() if len(old) == len(new)}


def measure(base: str, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return the figures of both sides, round by round."""
    with tempfile.TemporaryDirectory(prefix="lookalike-compare-") as name, ExitStack() as stack:
        folder = Path(name)
        checkout = stack.enter_context(check_out(base, folder / "base"))
        before, after = work.open_checkouts(checkout, ROOT, folder / "work")
        figures = run(before.measure, after.measure, rounds)
        servers = [
            stack.enter_context(rates.serve(path, folder / place)) for path, place in ((checkout, "old"), (ROOT, "new"))
        ]
        return {**figures, **run(lambda: ask(servers[0]), lambda: ask(servers[1]), rounds)}


def show(found: Mapping[str, Comparison]) -> str:
    """Return a table for people."""
    lines = ["| | of before | from | to | |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {one.ratio:.2f} | {one.low:.2f} | {one.high:.2f} | {one.verdict} |" for name, one in found.items()
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--output", type=Path, help="file for all figures as JSON")
    options = parser.parse_args()
    machine = describe_machine()
    figures = measure(options.base, options.rounds)
    found = {name: compare(before, after) for name, (before, after) in figures.items()}
    if options.output:
        sides = {name: {"before": before, "after": after} for name, (before, after) in figures.items()}
        report = {"machine": machine, "base": options.base, "after": describe_commit(), "seconds": sides}
        options.output.write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(show(found))
    return int(any(one.verdict == "slower" for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
