"""Podman for tests: what runs Kubernetes' own description of a pod where there is no cluster.

Debian's `podman` and what it needs beside it are installed if they are missing and can be had. Images and containers
lie in a folder of the test.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import firewall
from tests.support.engine import ROOT, install, run

PROGRAM = "/usr/bin/podman"
PACKAGES = {
    PROGRAM: "podman",
    "/usr/sbin/runc": "runc",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "/usr/bin/catatonit": "catatonit",
}
# crun takes no hybrid control groups, and limits of files may only be lowered without CAP_SYS_RESOURCE
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""


@dataclass(frozen=True)
class Podman:
    """Podman with folders of its own."""

    folder: Path

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """Run it; return what it prints."""
        places = ("--root", str(self.folder / "images"), "--runroot", str(self.folder / "run"))
        environment = {**os.environ, "CONTAINERS_CONF": str(self.folder / "containers.conf")}
        return run([PROGRAM, *places, *arguments], environment=environment, timeout=timeout)

    def create_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Keep values that variables refer to, as Podman 4.3 reads them: not those of a Secret that it plays."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({key: b64encode(value.encode()).decode() for key, value in values.items()}))
        self.run("secret", "create", name, str(file))

    @contextmanager
    def played(self, file: Path) -> Iterator[None]:
        """Run what a file describes until the context ends."""
        self.run("kube", "play", str(file), timeout=200)
        try:
            yield
        finally:
            self.run("kube", "down", str(file))


@contextmanager
def podman() -> Iterator[Podman]:
    """Yield Podman; take away what it set up on this machine at the end."""
    install(PACKAGES)
    before = firewall.State.read()
    with TemporaryDirectory(prefix="podman-", dir=ROOT / "build" / "tests") as name:
        found = Podman(Path(name))
        (found.folder / "containers.conf").write_text(CONFIGURATION)
        try:
            yield found
        finally:
            found.run("system", "reset", "--force")
            firewall.restore(before)
