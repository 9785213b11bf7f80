"""`prefect.yaml`: what is scheduled must be something that the flow understands."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prefect import Flow
from prefect.client.schemas.schedules import construct_schedule
from prefect.utilities.callables import parameter_schema

from lookalike.data.stores import open_store
from lookalike.infra.demo import orchestration
from tests.support.shop import Shop

pytestmark = pytest.mark.slow  # Prefect takes seconds to import

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    return loaded


def entrypoint(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, name = deployment["entrypoint"].split(":")
    assert (REPOSITORY / path).is_file()
    found = getattr(importlib.import_module(f"lookalike.{path.removesuffix('.py').replace('/', '.')}"), name)
    assert isinstance(found, Flow)
    return found


def test_there_is_the_deployment_that_the_demo_registers(project: dict[str, Any]) -> None:
    deployments = {one["name"]: one for one in project["deployments"]}
    nightly = deployments[orchestration.DEPLOYMENT]
    assert entrypoint(nightly).name == orchestration.FLOW
    assert nightly["work_pool"]["name"] == orchestration.POOL


def scheduled(project: dict[str, Any]) -> list[dict[str, Any]]:
    return [deployment for deployment in project["deployments"] if deployment["schedules"]]


def test_parameters_are_the_flows_with_its_defaults(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        signature = inspect.signature(entrypoint(deployment).fn).parameters
        given = deployment["parameters"]
        assert set(given) <= set(signature)
        required = {name for name, one in signature.items() if one.default is inspect.Parameter.empty}
        assert {name: given[name] for name in given.keys() - required} == {
            name: signature[name].default for name in given.keys() - required
        }
        assert required <= set(given) or not deployment["schedules"]  # nobody is there to be asked


def test_parameters_pass_the_flows_own_validation(project: dict[str, Any]) -> None:
    for deployment in scheduled(project):
        entrypoint(deployment).validate_parameters(deployment["parameters"])


def test_every_parameter_is_explained_in_the_form(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        properties = parameter_schema(entrypoint(deployment).fn).properties
        assert {name for name, one in properties.items() if not one.get("description")} == set(), deployment["name"]


def test_what_is_scheduled_and_how_often(project: dict[str, Any]) -> None:
    crons = {
        f"{entrypoint(one).name}/{one['name']}": [schedule["cron"] for schedule in one["schedules"]]
        for one in project["deployments"]
    }
    assert crons == {
        "reindex/nightly": ["0 3 * * *"],
        "refresh/frequent": ["*/15 * * * *"],
        "maintain/weekly": ["0 5 * * SUN"],
        "rollback/by-hand": [],
    }
    for deployment in scheduled(project):
        for schedule in deployment["schedules"]:
            assert schedule["active"]
            construct_schedule(cron=schedule["cron"], timezone=schedule["timezone"])


def test_the_night_and_the_refresh_see_the_same_catalogue(project: dict[str, Any]) -> None:
    nightly, frequent = (deployment["parameters"] for deployment in project["deployments"][:2])
    shared = nightly.keys() & frequent.keys()
    assert {"catalogue", "store", "channel", "encoder", "attribution"} <= shared
    assert {name: nightly[name] for name in shared} == {name: frequent[name] for name in shared}


def test_each_deployment_says_what_it_does(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        assert len(deployment["description"]) > 50
        assert deployment["tags"] == ["lookalike", entrypoint(deployment).name]


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
def test_a_server_takes_all_of_it_and_runs_it(project: dict[str, Any], prefect_api: str, tmp_path: Path) -> None:
    pool = httpx.post(f"{prefect_api}/work_pools/", json={"name": orchestration.POOL, "type": "process"}, timeout=30)
    assert pool.status_code in {httpx.codes.CREATED, httpx.codes.CONFLICT}
    environment = os.environ | {"PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(tmp_path)}
    prefect("--no-prompt", "deploy", "--all", environment=environment)
    for deployment in project["deployments"]:
        found = registered(prefect_api, deployment)
        wanted = deployment["concurrency_limit"]
        assert found["global_concurrency_limit"]["limit"] == wanted["limit"] == 1
        assert found["concurrency_options"]["collision_strategy"] == wanted["collision_strategy"]
        assert found["parameters"] == deployment["parameters"]
        assert found["enforce_parameter_schema"]

    # a deployment names a file, `flows/maintain.py`, and what that imports is `lookalike`: run it as a worker does
    Shop(open_store(str(tmp_path / "store")), tmp_path).publish()
    weekly = registered(prefect_api, project["deployments"][2])
    order = {"parameters": {"store": str(tmp_path / "store")}}
    made = httpx.post(f"{prefect_api}/deployments/{weekly['id']}/create_flow_run", json=order, timeout=30)
    run = made.raise_for_status().json()["id"]
    output = prefect("flow-run", "execute", run, environment=environment)
    ended = httpx.get(f"{prefect_api}/flow_runs/{run}", timeout=30).raise_for_status().json()
    assert (weekly["entrypoint"], ended["state"]["type"]) == ("flows/maintain.py:maintain", "COMPLETED"), output


def prefect(*arguments: str, environment: dict[str, str]) -> str:
    """Run the command line of Prefect; return all that it says."""
    command = [sys.executable, "-m", "prefect", *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def registered(prefect_api: str, deployment: dict[str, Any]) -> dict[str, Any]:
    name = f"{entrypoint(deployment).name}/{deployment['name']}"
    found: dict[str, Any] = httpx.get(f"{prefect_api}/deployments/name/{name}", timeout=30).raise_for_status().json()
    return found
