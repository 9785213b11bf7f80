"""Kill a reindex at random moments, run it again, and see that the snapshot is the one of an undisturbed run.

    python -m tests.benchmarks.kills [--rounds 20] [--products 3000]

Each round starts from an empty store, on a Dask scheduler and two workers as processes of their own, beside a Prefect
server. At a random moment the flow's process, a worker or the scheduler is killed with SIGKILL; a scheduler and a
worker are started again, as an operator's supervisor would. Then the reindex is run again until it ends well. Results
are JSON on standard output: for each round who was killed when, and the share of pictures that a worker began to embed
more than once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import HOST, free_port
from tests.support.photos import write_photos
from tests.support.servers import BIN, ROOT, prefect_server

VICTIMS = ("flow", "worker", "scheduler")
WORKERS = ("worker-0", "worker-1")
WORKER = ["dask", "worker", "--nthreads", "1", "--no-dashboard", "--death-timeout", "120"]
WORKER += ["--preload", "tests.benchmarks.counted"]


class Cluster:
    """A Dask cluster whose parts can be killed and started again."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._port = free_port()
        self.address = f"tcp://{HOST}:{self._port}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for name in ("scheduler", *WORKERS):
            self._start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            _kill(process)

    def kill(self, victim: str) -> None:
        """Kill the scheduler or a worker, with all its processes, and start it again.

        Workers without their scheduler end by themselves, and are started again as well.
        """
        names = ("scheduler", *WORKERS) if victim == "scheduler" else (random.choice(WORKERS),)
        for name in names:
            _kill(self._running[name])
        for name in names:
            self._start(name)

    def _start(self, name: str) -> None:
        command = {
            "scheduler": ["dask", "scheduler", "--host", HOST, "--port", str(self._port), "--no-dashboard"],
        }.get(name, [*WORKER, self.address])
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env={**self._environment, "COUNTED": str(counted(self._folder)), "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def reindex(catalogue: Path, store: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a reindex."""
    command = [str(BIN / "lookalike"), "reindex", str(catalogue), "--store", str(store), "--encoder", "fake"]
    return subprocess.Popen(
        [*command, "--shards", "2", "--output", "json"],
        env=dict(environment),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(catalogue: Path, store: Path, environment: Mapping[str, str]) -> tuple[dict[str, Any], int]:
    """Run the reindex until it ends well; return its report and how often it was run."""
    for attempt in range(1, 6):
        process = reindex(catalogue, store, environment)
        output, _ = process.communicate(timeout=300)
        if process.returncode == 0:
            report: dict[str, Any] = json.loads(output)
            return report, attempt
    raise SystemExit("the reindex does not end well, however often it is run")


def content_of(store: Path) -> str:
    """Return what the channel's snapshot answers with, every byte of it checked."""
    opened = open_store(str(store))
    manifest = read_manifest(opened, Channel(opened).current().snapshot)
    if problems := verify(opened, manifest):
        raise SystemExit(f"{manifest.id} is damaged: {problems}")
    return manifest.content


def counted(folder: Path) -> Path:
    """Return where a round's workers note the pictures that they begin to embed."""
    return folder / "counted"


def repeated(folder: Path) -> float:
    """Return the share of pictures that a worker began to embed more than once."""
    begun = counted(folder).read_text().splitlines()
    return len(begun) / len(set(begun)) - 1


def one_round(
    number: int, catalogue: Path, folder: Path, environment: Mapping[str, str], seconds: float
) -> dict[str, Any]:
    """Kill somebody at a random moment of a reindex, then finish it."""
    store, victim = folder / "store", VICTIMS[number % len(VICTIMS)]
    moment = random.uniform(0.05, 1.0) * seconds
    with Cluster(folder, environment) as cluster:
        found = {**environment, "DASK_SCHEDULER_ADDRESS": cluster.address}
        process = reindex(catalogue, store, found)
        time.sleep(moment)
        ended_before = process.poll() is not None
        if victim == "flow":
            process.kill()
        else:
            cluster.kill(victim)
        process.communicate(timeout=600)
        survived = process.returncode == 0
        report, runs = ({}, 0) if survived else finish(catalogue, store, found)
    return {
        "victim": victim,
        "after_seconds": round(moment, 1),
        "ended_before": ended_before,
        "survived": survived,
        "runs_after": runs,
        "embedded_by_last_run": report.get("embedded"),
        "content": content_of(store),
    }


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--products", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    random.seed(asked.seed)
    rounds = []
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lookalike-kills-")))
        write_photos(place / "photos", asked.products)
        environment = {
            **os.environ,
            "PREFECT_API_URL": stack.enter_context(prefect_server(place)),
            "LOOKALIKE_BATCH_PARTITION": "64",
            "LOOKALIKE_DASK_PATIENCE_SECONDS": "60",
        }
        undisturbed, seconds = reference(place, environment)
        for number in range(asked.rounds):
            folder = place / f"round-{number}"
            folder.mkdir()
            found = one_round(number, place / "photos", folder, environment, seconds)
            found["same_content"] = found.pop("content") == undisturbed
            found["repeated"] = round(repeated(folder), 4)
            rounds.append(found)
            print(json.dumps(found), file=sys.stderr)  # noqa: T201
    same = sum(found["same_content"] for found in rounds)
    shares = [found["repeated"] for found in rounds]
    summary = {"rounds": len(rounds), "same_content": same, "repeated_mean": sum(shares) / len(shares)}
    json.dump({**summary, "repeated_most": max(shares), "seed": asked.seed, "each": rounds}, sys.stdout, indent=2)
    if same != len(rounds):
        raise SystemExit(1)


def reference(place: Path, environment: Mapping[str, str]) -> tuple[str, float]:
    """Return an undisturbed run's content and its seconds."""
    folder = place / "undisturbed"
    folder.mkdir()
    with Cluster(folder, environment) as cluster:
        started = time.monotonic()
        finish(place / "photos", folder / "store", {**environment, "DASK_SCHEDULER_ADDRESS": cluster.address})
        seconds = time.monotonic() - started
    return content_of(folder / "store"), seconds


if __name__ == "__main__":
    main()
