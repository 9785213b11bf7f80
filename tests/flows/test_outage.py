"""The store goes away in the middle of a run, and comes back: the run waits for it, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from lookalike.data.embeddings import Embeddings
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import HOST
from tests.support.pictures import write_catalogue
from tests.support.seaweedfs import SeaweedFS
from tests.support.servers import BIN, ROOT

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

PRODUCTS = 300
AWAY_SECONDS = 6.0


class Line:
    """A line to a server that can be cut: then all that was connected is closed, and nobody gets through."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[socket.socket] = set()
        self._listening = socket.create_server((HOST, 0))
        self.is_cut = False
        self.refused = 0

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self._listening.getsockname()[1]}"

    def cut(self) -> None:
        self.is_cut = True
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            if self.is_cut:
                self.refused += 1
                here.close()
                continue
            there = socket.create_connection((HOST, self._port))
            self._ends |= {here, there}
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._ends.discard(end)


@contextmanager
def line_to(server: SeaweedFS) -> Iterator[Line]:
    line = Line(int(server.endpoint.rpartition(":")[2]))
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join()


def test_a_store_that_is_away_for_a_while_stops_no_run(
    tmp_path: Path, prefect_api: str, seaweedfs: SeaweedFS, s3_uri: str
) -> None:
    write_catalogue(tmp_path / "pictures", PRODUCTS)
    command = [str(BIN / "lookalike"), "reindex", str(tmp_path / "pictures"), "--store", s3_uri, "--encoder", "fake"]
    with line_to(seaweedfs) as line:
        environment = {"AWS_ENDPOINT_URL": line.endpoint, "PREFECT_API_URL": prefect_api}
        run = subprocess.Popen(
            [*command, "--output", "json"],
            env={**os.environ, **environment, "LOOKALIKE_BATCH_PARTITION": "10", "LOOKALIKE_BATCH_WORKERS": "1"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        store = open_store(s3_uri)
        deadline = time.monotonic() + 90
        while len(list(store.list("embeddings/"))) < 3:
            assert time.monotonic() < deadline, run.communicate()[1]
            time.sleep(0.05)
        line.cut()
        time.sleep(AWAY_SECONDS)
        line.is_cut = False
        output, errors = run.communicate(timeout=150)
    assert run.returncode == 0, errors[-3000:]
    assert line.refused > 0
    report = json.loads(output)
    assert (report["state"], report["products"], report["embedded"]) == ("published", PRODUCTS, PRODUCTS)
    manifest = read_manifest(store, Channel(store).current().snapshot)
    assert verify(store, manifest) == []
    vectors = np.concatenate(list(Embeddings(store, manifest.encoder.fingerprint).hash_columns()))
    assert len(vectors) == len(np.unique(vectors)) == PRODUCTS
