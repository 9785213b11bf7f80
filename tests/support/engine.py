"""A Docker engine for tests: one for the session, with folders, images and networks of its own, and no trace after it.

The engine is Debian's `docker.io`, which is installed if it is missing and can be had. It is never the engine that
may run on this machine already: a test would leave images there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lookalike.infra.demo.processes import Service, Services
from tests.support import firewall
from tests.support.shared import shared_service

ROOT = Path(__file__).parents[2]
DOCKER = "/usr/bin/docker"  # Debian's: clients of other sources lie elsewhere, and may know no BuildKit
PACKAGES = {DOCKER: "docker.io", "/usr/bin/mmdebstrap": "mmdebstrap", "/usr/sbin/iptables": "iptables"}
BASE = "lookalike-tests/base"
RELEASE = "trixie"  # of Debian: it has Python 3.13
NETWORK = "lookalike-tests"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
_NEEDED = (12, 21)  # CAP_NET_ADMIN and CAP_SYS_ADMIN: networks and mounts
_PULLS_NOTHING = {"DOCKER_BUILDKIT": "1"}


@dataclass(frozen=True)
class Engine:
    """A running engine; `host` is the address of its socket."""

    host: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find it."""
        return {**os.environ, **_PULLS_NOTHING, "DOCKER_HOST": self.host, "DOCKER": DOCKER}

    def docker(self, *arguments: str, timeout: float = 120) -> str:
        """Run Debian's client; return what it prints."""
        return run([DOCKER, *arguments], environment=self.environment, timeout=timeout)

    def build(self, *targets: str, source: Path = ROOT, options: Sequence[str] = ()) -> None:
        """Build images from `source` as people do, on a base and an index that this machine can reach."""
        with tempfile.TemporaryDirectory() as folder:
            build = " ".join([*build_options(Path(folder)), *options])
            command = ["make", "images", f"TARGETS={' '.join(targets)}", "TAG=tests", f"BUILD={build}"]
            run(command, environment=self.environment, timeout=900, folder=source)

    def make_base(self, release: str) -> str:
        """Make a base image of a release of Debian, with Python; return its name.

        It is kept for all sessions, because it takes a minute. Newer packages come with `make clean`.
        """
        made = ROOT / "build" / "tests" / f"base-{release}.tar"
        if not made.exists():
            partial = made.with_name(f".{os.getpid()}.tar")
            without = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
            command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_BASE_PACKAGES}", *without]
            run([*command, release, str(partial), "http://deb.debian.org/debian"], timeout=600)
            partial.rename(made)
        name = f"{BASE}:{release}"
        self.docker("import", str(made), name)
        return name

    @contextmanager
    def container(self, image: str, *options: str, command: Sequence[str] = ()) -> Iterator[str]:
        """Run a container in the background; yield its name, and remove it with its volumes at the end."""
        name = self.docker("run", "--detach", *options, image, *command).strip()
        try:
            yield name
        finally:
            self.docker("rm", "--force", "--volumes", name)


def build_options(folder: Path) -> list[str]:
    """Return what `make images` needs to know of this machine: where packages come from, and whom to trust."""
    options = ["--network host", f"--build-arg PYTHON_IMAGE={os.environ.get('PYTHON_IMAGE', f'{BASE}:{RELEASE}')}"]
    if torch := os.environ.get("TORCH_INDEX"):
        options.append(f"--build-arg TORCH_INDEX={torch}")
    bundle = next((os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if os.environ.get(name)), None)
    if bundle is not None:
        options.append(f"--secret id=ca.pem,src={bundle}")
    if index := os.environ.get("PIP_INDEX_URL"):
        (folder / "pip.conf").write_text(f"[global]\nindex-url = {index}\n")
        options.append(f"--secret id=pip.conf,src={folder / 'pip.conf'}")
    return options


def run(
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    timeout: float,
    given: str = "",
    folder: Path = ROOT,
) -> str:
    """Run a program in a folder, the repository if none is given, with `given` as its input.

    Return its output, or raise `AssertionError` with all that it said.
    """
    done = subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(command[:3])} …: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """Provide one engine for all test processes, with a base image and the network `NETWORK`."""
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    found: Engine = shared_service(request.config, running_engine)
    return found


def find_obstacle() -> str | None:
    """Return why no engine can run here, whatever is installed; `None` if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "an engine needs Linux and root"
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    rights = int(status["CapEff"], 16)
    if not all(rights >> number & 1 for number in _NEEDED):
        return "an engine needs the capabilities NET_ADMIN and SYS_ADMIN"
    if any(not Path(program).exists() for program in PACKAGES) and shutil.which("apt-get") is None:
        return f"an engine needs {', '.join(PACKAGES.values())}, and there is no apt-get"
    return None


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Start an engine; stop it at the end, and take away what it set up on this machine."""
    install(PACKAGES)
    (ROOT / "build" / "tests").mkdir(parents=True, exist_ok=True)
    before = firewall.State.read()
    # a socket's path may have about a hundred bytes, and images want a disk: /tmp may be memory
    with (
        tempfile.TemporaryDirectory(prefix="engine-", dir="/tmp") as run_folder,
        _data_folder() as data,
        Services(Path(run_folder)) as services,
    ):
        engine = Engine(f"unix://{run_folder}/docker.sock")
        command = ["/usr/sbin/dockerd", "--host", engine.host, "--pidfile", f"{run_folder}/pid"]
        command += ["--data-root", str(data), "--exec-root", f"{run_folder}/run", "--bridge", "none"]
        service = Service(
            "Docker engine",
            command,
            dict(os.environ),
            Path(run_folder) / "dockerd.log",
            ready=lambda: Path(run_folder, "docker.sock").exists() and _answers(engine),
            grace_s=30,
        )
        services.start(service)
        services.wait_ready(service)
        try:
            if "PYTHON_IMAGE" not in os.environ:
                engine.make_base(RELEASE)
            engine.docker("network", "create", NETWORK)
            yield engine
        finally:
            _empty(engine)
            services.stop()
            firewall.restore(before)
            _unmount(Path(run_folder), data)


def _answers(engine: Engine) -> bool:
    client = [DOCKER, "version"]
    return subprocess.run(client, env=engine.environment, capture_output=True, check=False, timeout=30).returncode == 0


def install(packages: Mapping[str, str]) -> None:
    """Install Debian's packages whose programs are missing; `packages` is by program."""
    missing = [package for program, package in packages.items() if not Path(program).exists()]
    if not missing:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120"]
    run([*apt, "update"], environment=environment, timeout=200)
    run([*apt, "install", "--yes", "--no-install-recommends", *missing], environment=environment, timeout=400)


@contextmanager
def _data_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir=ROOT / "build" / "tests"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _empty(engine: Engine) -> None:
    """Remove containers and networks while the engine runs: then it takes away their bridges and rules itself."""
    with contextlib.suppress(AssertionError):
        left = engine.docker("ps", "--all", "--quiet").split()
        if left:
            engine.docker("rm", "--force", "--volumes", *left)
        engine.docker("network", "prune", "--force")


def _unmount(*folders: Path) -> None:
    deadline = time.monotonic() + 10
    while mounted := [path for path in _mounts() if any(path.is_relative_to(folder) for folder in folders)]:
        assert time.monotonic() < deadline, f"still mounted: {mounted}"
        for path in reversed(mounted):
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False, timeout=30)


def _mounts() -> list[Path]:
    return [Path(line.split(" ")[1]) for line in Path("/proc/mounts").read_text().splitlines()]
