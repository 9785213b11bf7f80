"""The whole system in containers: brought up as people do, asked, changed under load, and taken down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import firewall
from tests.support.compose import PICTURES, PROJECT, Stack, running_stack
from tests.support.engine import DOCKER, ROOT, Engine, run
from tests.support.image_tools import Tools
from tests.support.load import Load

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(1200)]

DOCS = ROOT / "docs" / "compose.md"
PROBE = """
import json, socket, sys
for host, port in json.load(sys.stdin):
    with socket.socket() as s:
        s.settimeout(2)
        if s.connect_ex((host, port)) == 0: print(host, port)
"""
STRANGER = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if sys.argv[1:]: context.load_cert_chain(*sys.argv[1:])
with socket.create_connection(("dask-scheduler", 8786), 10) as connection, context.wrap_socket(connection) as tls:
    try: print("answered" if tls.recv(64) else "closed")
    except OSError as error: print("refused:", error)
"""


@pytest.fixture(scope="module")
def stack(engine: Engine, image_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(engine, image_tools, tmp_path_factory.mktemp("compose")) as found:
        yield found


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.search_url, timeout=30) as found:
        yield found


def list_products(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        client.get("/v1/products", params={"limit": 100}).raise_for_status().json()["products"]
    )
    return found


def ids(client: httpx.Client) -> list[str]:
    return [product["id"] for product in list_products(client)]


def test_a_picture_finds_its_product(client: httpx.Client) -> None:
    products = list_products(client)
    assert len(products) == PICTURES
    picture = client.get(products[7]["image_url"]).raise_for_status().content
    answer = client.post("/v1/search", files={"image": ("picture.png", picture)}, data={"k": "3"})
    hits = answer.raise_for_status().json()["hits"]
    assert len(hits) == 3
    assert hits[0]["id"] == products[7]["id"]
    assert hits[0]["score"] > 0.999


def test_the_first_run_came_from_its_deployment_and_computed_on_dask_over_tls(stack: Stack) -> None:
    with stack.prefect() as prefect:
        [first] = [one for one in filter_runs(prefect) if one["flow_name"] == "reindex"]
        assert (first["state_name"], first["deployment_id"] is not None) == ("Published", True)
    log = stack.compose("logs", "--no-log-prefix", "dask-worker")
    assert len(re.findall(r"Registered to: +tls://dask-scheduler:8786", log)) == int(stack.values["DASK_WORKERS"])
    eventually(
        lambda: bool(stack.prometheus('dask_scheduler_tasks_suspicious_total{task_prefix_name="embed_pictures"}'))
    )


def filter_runs(prefect: httpx.Client) -> list[dict[str, Any]]:
    flows = {one["id"]: one["name"] for one in prefect.post("/flows/filter", json={}).raise_for_status().json()}
    ended = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    runs = prefect.post("/flow_runs/filter", json=ended).raise_for_status().json()
    return [{**one, "flow_name": flows[one["flow_id"]]} for one in runs]


def test_dask_talks_to_nobody_without_a_certificate(stack: Stack) -> None:
    assert "certificate required" in in_network(stack, "batch", STRANGER).lower().replace("_", " ")
    [worker, *_] = stack.containers("dask-worker")
    ours = ["/run/secrets/dask-certificate", "/run/secrets/dask-key"]
    assert stack.engine.docker("exec", worker["Name"], "python", "-Sc", STRANGER, *ours) == "answered\n"


def test_prometheus_sees_every_part_and_what_the_run_pushed(stack: Stack) -> None:
    def jobs() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in stack.prometheus("up"):
            found.setdefault(one["metric"]["job"], set()).add(one["value"][1])
        return found

    expected = {"serving", "pushgateway", "dask", "prefect", "balancer"}
    eventually(lambda: jobs() == {f"lookalike-{name}": {"1"} for name in expected}, jobs)
    eventually(lambda: bool(stack.prometheus(f'lookalike_batch_products{{kind="reindex"}} == {PICTURES}')))


def eventually(condition: Any, state: Any = None, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, state and state()
        time.sleep(0.5)


def test_from_each_network_only_the_documented_ports_are_reached(stack: Stack) -> None:
    documented = {
        network: set(re.findall(r"`([a-z-]+:\d+)`", ports))
        for network, ports in re.findall(r"^\| `([a-z]+)` \| [^|]* \| ([^|]*) \|$", DOCS.read_text(), re.MULTILINE)
    }
    containers = stack.containers()
    ports = sorted({port for one in containers for port in listening(one["State"]["Pid"])})
    assert {8333, 5432, 8786, 8000} <= set(ports)
    reached: dict[str, set[str]] = {}
    for network in documented:
        hosts = {
            address["IPAddress"]: one["Config"]["Labels"]["com.docker.compose.service"]
            for one in containers
            if (address := one["NetworkSettings"]["Networks"].get(f"{PROJECT}_{network}")) and address["IPAddress"]
        }
        given = json.dumps([(host, port) for host in hosts for port in ports])
        lines = in_network(stack, network, PROBE, given).split("\n")
        found = [line.split() for line in lines if line]
        # a Dask worker's own port is chosen anew at each start
        reached[network] = {f"{hosts[host]}:{port}" for host, port in found if int(port) < 32768}
    assert reached == documented


def listening(process: int) -> set[int]:
    """Return the ports on which the processes of a container listen, on any of its addresses."""
    if process == 0:
        return set()
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def in_network(stack: Stack, network: str, program: str, given: str = "") -> str:
    """Run a program in a container that has this one network; return what it prints."""
    command = [DOCKER, "run", "--rm", "--interactive", "--network", f"{PROJECT}_{network}", "--entrypoint", "python"]
    command += [stack.values["SERVING_IMAGE"], "-Sc", program]
    return run(command, environment=stack.engine.environment, timeout=120, given=given)


def test_serving_may_read_the_store_and_not_write_it(stack: Stack) -> None:
    program = """
from lookalike.data.stores import open_store
import os
store = open_store(os.environ["LOOKALIKE_STORE"])
print(sum(1 for _ in store.list("channels/")))
store.create("channels/current/9999999999.json", b"{}")
"""
    [one, *_] = stack.containers("serving")
    with pytest.raises(AssertionError, match=r"(?s)StoreRefusedError|PermissionError"):
        stack.engine.docker("exec", one["Name"], "python", "-c", program)


def test_a_second_catalogue_is_swapped_in_and_no_query_fails(stack: Stack, client: httpx.Client) -> None:
    before = client.get("/v1/snapshots/current").json()["id"]
    place = f"s3://{stack.values['STORE_BUCKET']}/second"
    with Load(stack.search_url, ids(client), pause=0.2) as load:
        stack.compose(
            "run", "--rm", "--no-deps", "-e", f"SAMPLE={place}", "-e", f"SAMPLE_PICTURES={2 * PICTURES}", "sample"
        )
        limits = {"min_overlap": 0}  # twice as many, with the same among them
        assert reindex(stack, catalogue=f"{place}/products.csv", limits=limits)["name"] == "Published"
        load.wait(lambda tally: len(tally.snapshots) == 2)
        load.go_on(50)
    assert load.tally.failures == []
    assert set(load.tally.answers) == {"http", "websocket", "grpc"}
    assert before in load.tally.snapshots
    assert len(list_products(client)) == 2 * PICTURES


def reindex(stack: Stack, **parameters: Any) -> dict[str, Any]:
    """Run the nightly deployment now; return the state in which it ends."""
    with stack.prefect() as prefect:
        deployment = prefect.get("/deployments/name/reindex/nightly").raise_for_status().json()
        order = {"parameters": parameters}
        made = prefect.post(f"/deployments/{deployment['id']}/create_flow_run", json=order).raise_for_status().json()
        found: list[dict[str, Any]] = []

        def has_ended() -> bool:
            found[:] = [prefect.get(f"/flow_runs/{made['id']}").raise_for_status().json()["state"]]
            return found[0]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        eventually(has_ended, lambda: found, 600)
    return found[0]


def test_replacing_all_servers_fails_no_query(stack: Stack, client: httpx.Client) -> None:
    before = {one["Id"] for one in stack.containers("serving")}
    with Load(stack.search_url, ids(client)) as load:
        load.go_on(20)
        stack.make("rollout", timeout=300)
        load.go_on(50)
    after = {one["Id"] for one in stack.containers("serving")}
    assert load.tally.failures == []
    assert set(load.tally.answers) == {"http", "websocket", "grpc"}
    assert len(after) == len(before) == int(stack.values["SERVING_REPLICAS"])
    assert not after & before


def test_a_canary_gets_its_share_and_is_promoted(stack: Stack, client: httpx.Client) -> None:
    place = f"s3://{stack.values['STORE_BUCKET']}/sample"
    assert reindex(stack, catalogue=f"{place}/products.csv", channel="canary")["name"] == "Published"
    known = client.get("/v1/snapshots/current").json()["id"]
    stack.make("canary", "SHARE=30", timeout=200)
    with httpx.Client(base_url=stack.search_url, timeout=30) as asking:
        seen = [asking.get("/v1/snapshots/current").json()["id"] for _ in range(400)]
        assert 70 <= sum(one != known for one in seen) <= 175  # 30 % of 400 is 120; six times its deviation
        stack.make("canary-promote", timeout=200)
        [chosen] = set(seen) - {known}
        assert {asking.get("/v1/snapshots/current").json()["id"] for _ in range(50)} == {chosen}


def test_a_backup_brings_back_snapshots_and_runs(stack: Stack, client: httpx.Client, tmp_path: Path) -> None:
    snapshot, products = client.get("/v1/snapshots/current").json()["id"], ids(client)
    with stack.prefect() as prefect:
        runs = {one["id"] for one in filter_runs(prefect)}
    backup = f"BACKUP={tmp_path / 'backup'}"
    stack.make("backup", backup)
    stack.make("down", "VOLUMES=1")
    stack.make("restore", backup, timeout=300)
    stack.make("up", timeout=300)
    with httpx.Client(base_url=stack.search_url, timeout=30) as again:
        assert again.get("/v1/snapshots/current").json()["id"] == snapshot
        assert ids(again) == products
    with stack.prefect() as prefect:
        assert runs <= {one["id"] for one in filter_runs(prefect)}


def test_what_does_not_start_says_why(stack: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "settings.env"
    wrong.write_text(re.sub(r"(?m)^SAMPLE_PICTURES=.*$", "SAMPLE_PICTURES=many", stack.settings.read_text()))
    with pytest.raises(AssertionError, match=r"--- What sample said last:\n *SAMPLE_PICTURES is 'many'"):
        Stack(stack.engine, stack.program, wrong).make("up", timeout=300)


def test_down_leaves_nothing(stack: Stack) -> None:
    networks = json.loads(
        stack.engine.docker("network", "inspect", *stack.engine.docker(
            "network", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}"
        ).split())
    )  # fmt: skip
    bridges = {f"br-{one['Id'][:12]}" for one in networks}
    assert len(bridges) == 7
    assert bridges <= firewall.bridges()
    stack.make("down", "VOLUMES=1")
    for kind in ("container", "network", "volume"):
        listed = [kind, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}"]
        assert stack.engine.docker(*listed, *(["--all"] if kind == "container" else [])) == ""
    assert not bridges & firewall.bridges()
    assert [rule for rule in firewall.rules() if any(bridge in rule for bridge in bridges)] == []
