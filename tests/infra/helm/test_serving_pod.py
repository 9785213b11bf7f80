"""The rendered pod of a server, run as a process: with its variables, its Secrets and its probes.

Neither image nor node is part of it: `tests/infra/images` runs the image with the same rights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from lookalike.data.stores import open_store
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from tests.support.helm_tools import HelmTools
from tests.support.processes import server
from tests.support.seaweedfs import SeaweedFS
from tests.support.shop import Shop, picture, product_ids

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

PRODUCTS = 24


def rendered_pod(helm_tools: HelmTools, seaweedfs: SeaweedFS, store: str) -> dict[str, Any]:
    given = f"store.uri={store},store.endpoint={seaweedfs.endpoint},serving.keysSecret=keys,serving.grpc=true"
    documents = yaml.safe_load_all(helm_tools.render("--set", given))
    [deployment] = [one for one in documents if one and one["kind"] == "Deployment"]
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def variables(container: dict[str, Any], secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what the node would give the container."""
    found = {}
    for one in container["env"]:
        reference = one.get("valueFrom", {}).get("secretKeyRef")
        found[one["name"]] = secrets[reference["name"]][reference["key"]] if reference else one["value"]
    return found


def test_it_answers_with_what_the_chart_gives_it(
    helm_tools: HelmTools, seaweedfs: SeaweedFS, s3_uri: str, tmp_path: Path
) -> None:
    Shop(open_store(s3_uri), tmp_path).publish(PRODUCTS)
    pod = rendered_pod(helm_tools, seaweedfs, s3_uri)
    [container] = pod["containers"]
    key, secret = create_key("shop", [AccessScope.SEARCH])
    credentials = {name: value for name, value in seaweedfs.environment.items() if "KEY" in name}
    given = variables(container, {"lookalike-store-serving": credentials})

    # what a node does: a folder for each mount, a port for each name
    mounts = {one["mountPath"]: tmp_path / one["name"] for one in container["volumeMounts"]}
    [keys] = [one for one in pod["volumes"] if one["name"] == "keys"]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / keys["secret"]["items"][0]["path"]).write_text(KeysDocument(keys=(key,)).model_dump_json())
    for path, folder in mounts.items():
        given = {
            name: value.replace(path, str(folder), 1) if value.startswith(path) else value
            for name, value in given.items()
        }
    assert given["LOOKALIKE_ACCESS__KEYS_FILE"] == str(tmp_path / "keys" / "keys")
    ports = {one["name"]: free_port() for one in container["ports"]}
    assert {one["name"]: str(one["containerPort"]) for one in container["ports"]} == {
        "http": "8000",  # the image's own
        "admin": given["LOOKALIKE_ADMIN_PORT"],
        "grpc": given["LOOKALIKE_GRPC__PORT"],
    }
    given |= {
        "LOOKALIKE_ADMIN_HOST": "127.0.0.1",
        "LOOKALIKE_ADMIN_PORT": str(ports["admin"]),
        "LOOKALIKE_GRPC__PORT": str(ports["grpc"]),
    }
    given["LOOKALIKE_CACHE"] = str(mounts["/var/cache/lookalike"])

    assert container["args"] == ["serve"]
    with server(tmp_path, **given) as running:
        ports["http"] = running.port
        running.wait(lambda state: bool(state["ready"]))
        with httpx.Client(trust_env=False, timeout=20) as client:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container[probe]["httpGet"]
                assert client.get(f"http://127.0.0.1:{ports[asked['port']]}{asked['path']}").status_code == 200
            search = f"{running.url}/v1/search"
            files = {"image": ("picture", picture(9))}
            assert client.post(search, files=files).status_code == 401
            reply = client.post(search, files=files, data={"k": "3"}, headers={"X-API-Key": secret})
            assert reply.status_code == 200, reply.text
            assert reply.json()["hits"][0]["id"] == product_ids(PRODUCTS)[9]
            assert client.get(f"{running.url}/metrics").status_code == 404
            metrics = client.get(f"http://127.0.0.1:{ports['admin']}/metrics")
            assert "lookalike_queue_depth" in metrics.text
        assert running.stop() == 0
