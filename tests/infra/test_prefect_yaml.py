"""`prefect.yaml`: what is scheduled must be something that the flow understands."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prefect import Flow
from prefect.client.schemas.schedules import construct_schedule

from infra.demo import orchestration

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    return loaded


def entrypoint(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, name = deployment["entrypoint"].split(":")
    assert (REPOSITORY / path).is_file()
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, Flow)
    return found


def test_there_is_the_deployment_that_the_demo_registers(project: dict[str, Any]) -> None:
    deployments = {one["name"]: one for one in project["deployments"]}
    nightly = deployments[orchestration.DEPLOYMENT]
    assert entrypoint(nightly).name == orchestration.FLOW
    assert nightly["work_pool"]["name"] == orchestration.POOL


def test_parameters_are_the_flows_with_its_defaults(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        signature = inspect.signature(entrypoint(deployment).fn).parameters
        given = deployment["parameters"]
        assert set(given) <= set(signature)
        required = {name for name, one in signature.items() if one.default is inspect.Parameter.empty}
        assert required <= set(given)
        assert {name: given[name] for name in given.keys() - required} == {
            name: signature[name].default for name in given.keys() - required
        }


def test_parameters_pass_the_flows_own_validation(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        entrypoint(deployment).validate_parameters(deployment["parameters"])


def test_schedules_are_valid_and_nightly(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        for schedule in deployment["schedules"]:
            assert schedule["active"]
            construct_schedule(cron=schedule["cron"], timezone=schedule["timezone"])


def test_each_deployment_says_what_it_does(project: dict[str, Any]) -> None:
    for deployment in project["deployments"]:
        assert len(deployment["description"]) > 50
        assert "reindex" in deployment["tags"]
