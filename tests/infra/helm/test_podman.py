"""The rendered Deployment of a server, run from its image by `podman kube play`, with its rights and its Secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from tests.support.client import wait_for
from tests.support.engine import Engine
from tests.support.helm_tools import HelmTools
from tests.support.podman import Podman, podman
from tests.support.seaweedfs import SeaweedFS
from tests.support.shop import Shop, picture, product_ids

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(900)]

PRODUCTS = 24
IMAGE = "localhost/lookalike/serving:tests"


@pytest.fixture(scope="module")
def player(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Provide Podman with the serving image."""
    engine.build("serving")
    archive = tmp_path_factory.mktemp("archive") / "serving.tar"
    engine.docker("save", "--output", str(archive), IMAGE.removeprefix("localhost/"), timeout=300)
    with podman() as found:
        found.run("load", "--input", str(archive), timeout=300)
        archive.unlink()
        yield found


def deployment(helm_tools: HelmTools, store: str, endpoint: str, ports: dict[str, int], keys: Path) -> dict[str, Any]:
    """Return the server's Deployment, with an image, ports and a file of keys that this machine has."""
    given = {
        "images": {"registry": IMAGE.rpartition("/")[0], "tag": "tests", "pullPolicy": "Never"},
        "store": {"uri": store, "endpoint": endpoint, "secrets": {"serving": "store"}},
        "serving": {"replicas": 1, "keysSecret": "keys"},
    }
    values = keys.parent / "values.yaml"
    values.write_text(yaml.safe_dump(given))
    documents = yaml.safe_load_all(helm_tools.render("--values", str(values)))
    [found] = [one for one in documents if one and one["kind"] == "Deployment"]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    pod["hostNetwork"] = True  # the store listens on this machine only
    # Podman 4.3 writes base64 into files of Secrets, so a folder stands for this one
    [secret] = [one for one in pod["volumes"] if "secret" in one]
    [item] = secret.pop("secret")["items"]
    (keys.parent / item["path"]).write_bytes(keys.read_bytes())
    secret["hostPath"] = {"path": str(keys.parent)}
    [container] = pod["containers"]
    del container["ports"]  # which are those of this machine
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        container[probe]["httpGet"]["port"] = ports[container[probe]["httpGet"]["port"]]
    container["env"] = [one for one in container["env"] if not one["name"].startswith("LOOKALIKE_ADMIN_")]
    for name, value in (("PORT", ports["http"]), ("ADMIN_PORT", ports["admin"])):
        container["env"].append({"name": f"LOOKALIKE_{name}", "value": str(value)})
    rendered: dict[str, Any] = found
    return rendered


def test_it_answers_as_the_chart_describes_it(
    helm_tools: HelmTools, player: Podman, seaweedfs: SeaweedFS, s3_uri: str, tmp_path: Path
) -> None:
    Shop(open_store(s3_uri), tmp_path).publish(PRODUCTS)
    key, password = create_key("shop", [AccessScope.SEARCH])
    ports = {"http": free_port(), "admin": free_port()}
    player.create_secret("store", {name: value for name, value in seaweedfs.environment.items() if "KEY" in name})
    (tmp_path / "keys.json").write_text(KeysDocument(keys=(key,)).model_dump_json())
    pod = deployment(helm_tools, s3_uri, seaweedfs.endpoint, ports, tmp_path / "keys.json")
    played = tmp_path / "pod.yaml"
    played.write_text(yaml.safe_dump(pod))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)

    with (
        player.played(played),
        httpx.Client(base_url=f"http://127.0.0.1:{ports['http']}", timeout=30, trust_env=False) as client,
    ):
        wait_for(lambda: is_ready(client), bool, 120)
        files = {"image": ("picture", picture(9))}
        assert client.post("/v1/search", files=files).status_code == 401
        reply = client.post("/v1/search", files=files, data={"k": "3"}, headers={"X-API-Key": password})
        assert reply.status_code == 200, reply.text
        assert reply.json()["hits"][0]["id"] == product_ids(PRODUCTS)[9]
        assert client.get("/metrics").status_code == 404
        metrics = httpx.get(f"http://127.0.0.1:{ports['admin']}/metrics", trust_env=False)
        assert "lookalike_queue_depth" in metrics.text
        [container] = [name for name in player.run("ps", "--format", "{{.Names}}").split() if name.endswith("serving")]
        status = player.run("exec", container, "cat", "/proc/1/status")
        rights = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert rights["Uid"].split() == ["10001"] * 4
        assert int(rights["CapEff"], 16) == int(rights["CapBnd"], 16) == 0


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False
