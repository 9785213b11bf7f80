"""Hold a real server to its own OpenAPI document: `python -m tests.benchmarks.conformance --cases 20000`.

Schemathesis makes up requests, valid and invalid ones, and looks at the answers with all of its checks; what is
configured is in `schemathesis.toml` beside this file. Half of the runs are against a server without keys, half with.
It ends with an error where a check fails or the server answers 5xx. `make bench-attack` installs Schemathesis.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from lookalike.data.stores.local import LocalStore
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.context import AccessScope
from tests.support.processes import Server, server
from tests.support.shop import Shop

CONFIG = Path(__file__).with_name("schemathesis.toml")
PROGRAM = Path("build/schemathesis/bin/schemathesis")
EXAMPLES = 200
"""A run's random requests for each operation; those that go through each field and its limits come on top."""


@dataclass
class Findings:
    """What all runs came to."""

    cases: int = 0
    failures: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path, *, keys: bool) -> Iterator[tuple[Server, list[str]]]:
    """Run a server; yield it, and what tells its key to Schemathesis."""
    folder.mkdir()
    Shop(LocalStore(folder / "store"), folder).publish(24)
    settings, headers = {}, []
    if keys:
        key, text = create_key("schemathesis", [AccessScope.SEARCH, AccessScope.ADMIN])
        add_key(folder / "keys.json", key)
        settings = {"LOOKALIKE_ACCESS__KEYS_FILE": str(folder / "keys.json")}
        headers = ["--header", f"Authorization:Bearer {text}"]
    with server(folder, **settings) as running:
        running.wait(lambda state: state["ready"])
        yield running, headers


def check(running: Server, headers: list[str], program: Path, seed: int, examples: int) -> tuple[int, str, bool]:
    """Run Schemathesis once; return how many cases it sent, what it said, and whether all was well."""
    # One worker: in several threads, CPython 3.11's parser fails now and then where Hypothesis reads its own source.
    command = [str(program), "--config-file", str(CONFIG), "run", f"{running.url}/openapi.json", "--checks", "all"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--workers", "1", "--continue-on-failure"]
    command += ["--no-shrink", "--no-color", "--generation-database", "none", "--suppress-health-check", "all"]
    done = subprocess.run([*command, *headers], capture_output=True, text=True, check=False)
    found = re.search(r"^\s*([\d,]+) generated", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"schemathesis said nothing of cases:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return int(found[1].replace(",", "")), done.stdout, done.returncode == 0


def server_errors(running: Server, headers: list[str]) -> int:
    """Return how many answers the server itself counts as 5xx: probes before it is ready are some."""
    given = dict(header.split(":", 1) for header in headers[1::2])
    lines = httpx.get(f"{running.url}/metrics", headers=given).text.splitlines()
    counted = [line for line in lines if line.startswith("lookalike_request_seconds_count")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in counted if re.search(r'status="5\d\d"', line))


def run(program: Path, cases: int, seed: int, seconds: float, examples: int) -> Findings:
    """Check with one seed after another, without and with keys, until there were so many cases."""
    findings, end = Findings(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="lookalike-conformance-") as name:
        for number in itertools.count():
            if findings.cases >= cases or time.monotonic() > end:
                return findings
            keys = bool(number % 2)
            with serving(Path(name) / str(number), keys=keys) as (running, headers):
                start, before = time.monotonic(), server_errors(running, headers)
                sent, said, well = check(running, headers, program, seed + number, examples)
                errors = server_errors(running, headers) - before
            findings.cases += sent
            findings.runs.append(
                f"seed {seed + number}, {'with keys' if keys else 'without keys'}: {sent:,} cases, "
                f"{errors} answers with 5xx, {time.monotonic() - start:.0f} s"
            )
            if not well:
                sys.stdout.write(said[said.find("FAILURES") :])
            if not well or errors:
                findings.failures.append(f"seed {seed + number}: {said}")
            sys.stdout.write(f"{findings.runs[-1]}\n")
            sys.stdout.flush()
    return findings


def main() -> None:
    """Check, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin no run after so many seconds")
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--program", type=Path, default=PROGRAM)
    options = parser.parse_args()
    if not options.program.exists():
        sys.exit(f"there is no {options.program}: make bench-attack installs it")
    findings = run(options.program, options.cases, options.seed, options.seconds, options.examples)
    sys.stdout.write(f"{findings.cases:,} cases, {len(findings.failures)} runs with failures\n")
    sys.exit("\n".join(findings.failures) or 0)


if __name__ == "__main__":
    main()
