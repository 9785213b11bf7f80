"""The serving image: built, started as a cluster would start it, and asked by picture, product and vector."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import free_port
from tests.support.client import wait_for
from tests.support.engine import NETWORK, Engine
from tests.support.image_tools import Tools
from tests.support.seaweedfs import SeaweedFS
from tests.support.shop import Shop, picture, product_ids

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(1200)]

IMAGE = "lookalike/serving:tests"
MOST_BYTES = 450_000_000
MOST_COMPRESSED = 160_000_000
PRODUCTS = 24
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "1g"),
    *("--tmpfs", "/tmp", "--tmpfs", "/var/cache/lookalike:uid=10001,gid=10001"),
)


@dataclass(frozen=True)
class Running:
    """A container that serves, and a client of it."""

    name: str
    client: httpx.Client


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    engine.build("serving")
    return IMAGE


@pytest.fixture(scope="module")
def archive(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archive") / "serving.tar"
    engine.docker("save", "--output", str(file), image, timeout=300)
    return file


@contextmanager
def serving(engine: Engine, *options: str) -> Iterator[Running]:
    """Run the image as a cluster would: nothing may be written, and no right is left."""
    with engine.container(IMAGE, *HARDENED, *options) as name:
        address = engine.docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", name)
        published = json.loads(address).get("8000/tcp")
        port = published[0]["HostPort"] if published else option(options, "LOOKALIKE_PORT")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(lambda: is_ready(client), bool, 120)
            yield Running(name, client)


def option(options: tuple[str, ...], name: str) -> str:
    return next(one.partition("=")[2] for one in options if one.startswith(f"{name}="))


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the image's user may read."""
    folder = tmp_path_factory.mktemp("shop")
    Shop(open_store(str(folder / "store")), folder).publish(PRODUCTS)
    for parent in (folder, *folder.parents):
        if parent.is_relative_to(tmp_path_factory.getbasetemp().parent):
            parent.chmod(parent.stat().st_mode | 0o055)
    return folder / "store"


@pytest.fixture(scope="module")
def running(engine: Engine, image: str, shop: Path) -> Iterator[Running]:
    volume = f"{shop}:/store:ro"
    with serving(
        engine, *("--network", NETWORK, "--publish", "127.0.0.1::8000", "--volume", volume),
        *("--env", "LOOKALIKE_STORE=/store", "--env", "LOOKALIKE_WORKERS=2"),
    ) as found:  # fmt: skip
        yield found


def assert_searches(client: httpx.Client) -> None:
    """Ask in each of the three ways; each finds the product that it is about, or its neighbours."""
    product = product_ids(PRODUCTS)[9]
    by_picture = client.post("/v1/search", files={"image": ("picture", picture(9))}, data={"k": "3"})
    assert hits(by_picture)[0] == product
    by_product = client.get(f"/v1/products/{quote(product, safe='')}/similar", params={"k": 3})
    assert len(hits(by_product)) == 3
    assert product not in hits(by_product)
    by_vector = client.post("/v1/search", json={"vector": [1.0] * 192, "k": 3})
    assert len(hits(by_vector)) == 3


def hits(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["hits"]
    return [hit["id"] for hit in found]


def test_it_answers_from_a_folder(running: Running) -> None:
    assert_searches(running.client)


def test_metrics_of_two_workers_need_no_writable_root(running: Running) -> None:
    reply = running.client.get("/metrics")
    assert reply.status_code == 200
    assert "lookalike_request_seconds_count" in reply.text


def test_it_has_no_rights(engine: Engine, running: Running) -> None:
    status = engine.docker("exec", running.name, "cat", "/proc/1/status")
    rights = dict(line.split(":\t", 1) for line in status.splitlines())
    assert int(rights["CapEff"], 16) == int(rights["CapBnd"], 16) == 0
    assert rights["Uid"].split() == ["10001"] * 4
    assert rights["NoNewPrivs"] == "1"
    touched = subprocess.run(
        ["/usr/bin/docker", "exec", running.name, "touch", "/opt/lookalike/mine"],
        env=engine.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Read-only file system" in touched.stderr


def test_it_knows_how_many_processors_it_may_use(engine: Engine, image: str) -> None:
    code = "from lookalike.data.processors import count_processors; print(count_processors())"
    counted = engine.docker("run", "--rm", "--cpus", "0.9", "--entrypoint", "python", image, "-c", code)
    assert counted.strip() == "1"


def test_healthy_means_ready(engine: Engine, running: Running, shop: Path) -> None:
    def health() -> str:
        return engine.docker("inspect", "--format", "{{.State.Health.Status}}", running.name).strip()

    assert wait_for(health, lambda state: state == "healthy", 60)
    nothing = ("--network", NETWORK, "--env", "LOOKALIKE_STORE=/var/cache/lookalike/empty")
    with engine.container(IMAGE, *HARDENED, *nothing) as unready:
        asked = ["/usr/bin/docker", "exec", unready, "healthy"]
        done = subprocess.run(asked, env=engine.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stdout


def test_it_ends_when_it_is_told_to(engine: Engine, image: str, shop: Path) -> None:
    options = ("--network", NETWORK, "--publish", "127.0.0.1::8000", "--volume", f"{shop}:/store:ro")
    with serving(engine, *options, "--env", "LOOKALIKE_STORE=/store") as found:
        began = time.monotonic()
        engine.docker("stop", "--time", "60", found.name)
        state = json.loads(engine.docker("inspect", "--format", "{{json .State}}", found.name))
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
        assert time.monotonic() - began < 30


def test_it_answers_from_s3(engine: Engine, image: str, seaweedfs: SeaweedFS, s3_uri: str, tmp_path: Path) -> None:
    Shop(open_store(s3_uri), tmp_path).publish(PRODUCTS)
    values = {
        **seaweedfs.environment,
        "LOOKALIKE_STORE": s3_uri,
        "LOOKALIKE_HOST": "127.0.0.1",
        "LOOKALIKE_PORT": str(free_port()),
    }
    environment = [part for name, value in values.items() for part in ("--env", f"{name}={value}")]
    with serving(engine, "--network", "host", *environment) as found:
        assert_searches(found.client)


def test_it_is_small(engine: Engine, image: str, archive: Path) -> None:
    unpacked = int(engine.docker("inspect", "--format", "{{.Size}}", image))
    # as clients compress what they push
    compressed = subprocess.run(
        f"gzip -6 --stdout {archive} | wc --bytes", shell=True, check=True, capture_output=True, timeout=200
    )
    assert unpacked < MOST_BYTES
    assert int(compressed.stdout) < MOST_COMPRESSED


def test_it_holds_what_it_should(engine: Engine, image: str, image_tools: Tools) -> None:
    structure = str(Path(__file__).with_name("structure.yaml"))
    image_tools.run(
        "container-structure-test", "test", "--image", image, "--config", structure, environment=engine.environment
    )


def test_its_parts_are_listed(image_tools: Tools, archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "serving.cdx.json"
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    image_tools.run(
        "syft", "scan", f"docker-archive:{archive}", "--quiet", "--output", f"cyclonedx-json={file}",
        environment=quiet, timeout=280,
    )  # fmt: skip
    bill = json.loads(file.read_text())
    names = {part["name"] for part in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert {"lookalike", "faiss-cpu", "onnxruntime", "libc6"} <= names
    assert names & {"torch", "prefect", "dask", "apt", "perl-base"} == set()


def test_it_holds_no_secret(image_tools: Tools, archive: Path) -> None:
    command = [
        image_tools.trivy,
        "image",
        "--input",
        str(archive),
        "--scanners",
        "secret",
        "--exit-code",
        "1",
        "--quiet",
    ]
    # an example of how PyJWT is used
    command += ["--skip-files", "**/PyJWT-*/METADATA", "--skip-files", "**/pyjwt-*/METADATA"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
