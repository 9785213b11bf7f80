"""Send mutated picture files to a real server: `python -m tests.benchmarks.fuzz FOLDER --cases 50000`.

FOLDER holds real pictures; `--seed` is the first of as many seeds as there are cases. A case that the server does not
answer with 2xx or 4xx is written to `--failures`, named by its seed. It ends with an error where there is one, where
memory or descriptors grow, or where the next good query is not answered as before.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lookalike.data.stores.local import LocalStore
from tests.support.mutations import Case, case, files_of
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture
from tests.support.watched import descriptors, resident

PICTURES = 12
WARM_UP = 0.2
"""Share of the cases after which memory must no longer grow."""
MAX_GROWTH = 2.0
"""Megabytes in 10,000 cases: less than any leak of one picture's pixels or file."""
BOUNDARY = "6c6f6f6b616c696b65"


@dataclass
class Findings:
    """What came back. `samples` are cases so far, bytes of memory, open descriptors."""

    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[Case, str]] = field(default_factory=list)
    slowest: tuple[float, Case | None] = (0.0, None)
    samples: list[tuple[int, int, int]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, sent: Case, status: int, reason: str, seconds: float) -> None:
        """Count one answer."""
        self.reasons[f"{status} {reason}".strip()] += 1
        if not (200 <= status < 300 or 400 <= status < 500):
            self.failures.append((sent, f"{status} {reason}"))
        if seconds > self.slowest[0]:
            self.slowest = (seconds, sent)

    @property
    def growth(self) -> float:
        """Megabytes of memory in 10,000 cases after warming up, by least squares."""
        last = self.samples[-1][0]
        settled = [(done, memory) for done, memory, _ in self.samples if done >= WARM_UP * last]
        if len(settled) < 3:
            return 0.0
        done, memory = np.array(settled, float).T
        return float(np.polyfit(done, memory, 1)[0] * 10_000 / 1e6)


class Connection:
    """One keep-alive connection, opened again where the server hangs up."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = dict(headers or {})

    def local_port(self) -> int:
        """Return this side's port, of a new connection where there is none; 0 where nobody accepts one."""
        try:
            if self._http.sock is None:
                self._http.connect()
        except OSError:
            return 0
        return int(self._http.sock.getsockname()[1])

    def post(self, data: bytes, name: str = "x.png") -> tuple[int, str]:
        """Search by a picture; return the status, and a problem's code or the first hit's id. 0 for no answer."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        try:
            self._http.request("POST", "/v1/search", body, {"Content-Type": kind, **self._headers})
            response = self._http.getresponse()
            found = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._http.close()
            return 0, repr(error)
        return response.status, found["code"] if response.status != 200 else found["hits"][0]["id"]

    def close(self) -> None:
        """Hang up."""
        self._http.close()


def ask_once(port: int, data: bytes) -> tuple[int, str]:
    """Search by a picture over a connection of its own."""
    connection = Connection(port)
    try:
        return connection.post(data)
    finally:
        connection.close()


def fuzz(running: Server, files: Sequence[bytes], seeds: Iterator[int], connections: int) -> Findings:
    """Send the cases with these seeds over several connections; watch the server meanwhile."""
    findings, lock = Findings(), threading.Lock()

    def send() -> None:
        connection = Connection(running.port)
        while True:
            with lock:
                seed = next(seeds, None)
            if seed is None:
                connection.close()
                return
            sent = case(seed, files)
            began = time.monotonic()
            status, reason = connection.post(sent.data, f"x.{('png', 'jpg', 'txt', 'exe')[seed % 4]}")
            with lock:
                findings.add(sent, status, "" if status == 200 else reason, time.monotonic() - began)

    return watch(running, send, connections, findings, lock)


def watch(
    running: Server, send: Callable[[], None], connections: int, findings: Findings, lock: threading.Lock
) -> Findings:
    """Let so many threads send until all are done; note the memory and the descriptors of the server meanwhile."""
    start = time.monotonic()
    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    pid = running.process.pid
    while any(thread.is_alive() for thread in threads):
        with lock:
            done = findings.reasons.total()
        if running.process.poll() is None:
            findings.samples.append((done, resident(pid), descriptors(pid)))
        time.sleep(0.2)
    findings.seconds = time.monotonic() - start
    return findings


def keep(failures: Sequence[tuple[Case, str]], folder: Path) -> None:
    """Write failing cases, so that each can be looked at alone."""
    for sent, _ in failures:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sent.seed}.bin").write_bytes(sent.data)


def report(findings: Findings) -> str:
    """Return the figures as lines."""
    first, last = findings.samples[0], findings.samples[-1]
    settled = next(sample for sample in findings.samples if sample[0] >= WARM_UP * last[0])
    seconds, slowest = findings.slowest
    total = findings.reasons.total()
    memory = f"{first[1] / 1e6:.0f} MB at first, {settled[1] / 1e6:.0f} MB warm, {last[1] / 1e6:.0f} MB at the end"
    which = f"seed {slowest.seed} ({slowest.what}, {len(slowest.data):,} bytes)" if slowest else "none"
    return "\n".join(
        [
            f"{total:,} cases in {findings.seconds:.0f} s ({total / findings.seconds:.0f} a second)",
            *(f"  {count:>7,}  {reason}" for reason, count in findings.reasons.most_common()),
            f"memory: {memory}; {findings.growth:+.2f} MB in 10,000 cases",
            f"descriptors: {settled[2]} warm, {last[2]} at the end",
            f"slowest: {1000 * seconds:.0f} ms, {which}",
        ]
    )


def broken(findings: Findings, connections: int) -> list[str]:
    """Return which promises do not hold."""
    settled = next(sample for sample in findings.samples if sample[0] >= WARM_UP * findings.samples[-1][0])
    found = [f"seed {sent.seed} ({sent.what}): {why}" for sent, why in findings.failures]
    if findings.growth > MAX_GROWTH:
        found.append(f"memory grows by {findings.growth:.2f} MB in 10,000 cases")
    if findings.samples[-1][2] > settled[2] + connections:
        found.append(f"descriptors grow from {settled[2]} to {findings.samples[-1][2]}")
    return found


def main() -> None:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    files = files_of(options.folder, PICTURES)
    with tempfile.TemporaryDirectory(prefix="lookalike-fuzz-") as name:
        folder = Path(name)
        Shop(LocalStore(folder / "store"), folder).publish(24)
        with server(folder) as running:
            running.wait(lambda state: state["ready"])
            before = ask_once(running.port, picture(3))
            seeds = iter(range(options.seed, options.seed + options.cases))
            findings = fuzz(running, files, seeds, options.connections)
            after = ask_once(running.port, picture(3))
    keep(findings.failures, options.failures)
    problems = broken(findings, options.connections)
    if before != after or after[0] != 200:
        problems.append(f"the next good query: {before} before, {after} after")
    sys.stdout.write(f"{report(findings)}\nnext good query: {after[0]}, the same hit\n")
    sys.exit("\n".join(itertools.islice(problems, 20)) or 0)


if __name__ == "__main__":
    main()
