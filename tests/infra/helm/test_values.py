"""The chart's values and what it renders for three sets of them: what can be said without Helm."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.engine import ROOT
from tests.support.helm_tools import CHART

GOLDEN = Path(__file__).parent / "golden"
SETS = ("minimal", "full", "canary")
FOREIGN = {
    *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"),
    *("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_WORKER_WEBSERVER_HOST", "PREFECT_WORKER_WEBSERVER_PORT"),
    *("DASK_SCHEDULER_ADDRESS", "DO_NOT_TRACK", "PYTHON_CPU_COUNT", "TMPDIR"),
}
OF_THE_POD = {"CATALOGUE", "CHANNEL", "SCHEDULES", "ENCODER", "ATTRIBUTION", "SHARDS", "MEMORY_LIMIT"}
"""What `lookalike.infra.deployments` reads, or a command's own arguments."""
WORDS_OF_KUBERNETES = {
    *("resources", "requests", "limits", "nodeSelector", "tolerations", "affinity", "priorityClassName"),
    *("enabled", "minReplicas", "maxReplicas", "className", "host", "annotations", "region", "pullPolicy"),
}
"""They mean here what they mean everywhere."""
TEXT = (CHART / "values.yaml").read_text()


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()) if one]


def containers(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in documents(name):
        spec = one.get("spec", {})
        pods = [spec] if one["kind"] == "Pod" else []
        pods += [spec["template"]["spec"]] if "template" in spec else []
        pods += [spec[part]["spec"] for part in ("scheduler", "worker") if one["kind"] == "DaskCluster"]
        found += [container for pod in pods for container in pod["containers"]]
    return found


def test_a_comment_stands_over_each_value() -> None:
    bare = [
        line.strip()
        for before, line in pairwise(TEXT.splitlines())
        if (key := re.match(r" *(\w+): ?", line)) and line != key[0].rstrip()
        if not before.lstrip().startswith("# ") and key[1] not in WORDS_OF_KUBERNETES
    ]
    assert bare == []


def test_schedules_are_those_of_prefect_yaml() -> None:
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    crons = {one["name"]: one["schedules"][0]["cron"] for one in project["deployments"] if one["schedules"]}
    assert yaml.safe_load(TEXT)["prefect"]["schedules"] == crons


def test_the_schema_knows_the_values_and_no_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        if "properties" not in schema:
            return
        assert schema["additionalProperties"] is False, path
        assert values.keys() == schema["properties"].keys() - {"global"}, path
        for name, value in values.items():
            if isinstance(value, dict):
                compare(value, schema["properties"][name], f"{path}.{name}")

    compare(yaml.safe_load(TEXT), schema, "")


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["version"] == chart["appVersion"] == version[1]


def test_alerts_are_those_of_prometheus() -> None:
    """The chart has a link, which `helm package` follows."""
    rules = ROOT / "infra" / "prometheus" / "rules"
    assert (CHART / "rules").resolve() == rules
    [found] = [one for one in documents("canary") if one["kind"] == "PrometheusRule"]
    files = [yaml.safe_load(file.read_text()) for file in sorted(rules.glob("*.yml"))]
    assert found["spec"]["groups"] == [group for file in files for group in file["groups"]]


def test_each_variable_is_a_known_setting() -> None:
    import dask.config
    import distributed  # noqa: F401 - without it Dask knows no default of a cluster

    settings = set(re.findall(r"^#(LOOKALIKE_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = {one["name"] for name in SETS for container in containers(name) for one in container.get("env", [])}
    of_dask = {name for name in used if name.startswith("DASK_DISTRIBUTED__")}
    assert {"LOOKALIKE_STORE", "LOOKALIKE_ACCESS__KEYS_FILE", "DASK_SCHEDULER_ADDRESS"} <= used
    assert used - settings - FOREIGN - OF_THE_POD - of_dask == set()
    assert len(of_dask) == 9
    for name in of_dask:
        dask.config.get(name.removeprefix("DASK_").replace("__", ".").lower())  # raises KeyError


@pytest.mark.parametrize("name", SETS)
def test_no_variable_and_no_folder_stands_twice(name: str) -> None:
    for container in containers(name):
        for names in (
            [one["name"] for one in container.get("env", [])],
            [one["mountPath"] for one in container.get("volumeMounts", [])],
        ):
            assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", SETS)
def test_services_policies_and_budgets_select_pods_that_exist(name: str) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in documents(name) if "template" in one.get("spec", {})
    ]
    for cluster in [one for one in documents(name) if one["kind"] == "DaskCluster"]:
        labels += [
            cluster["metadata"]["labels"] | cluster["spec"][part]["metadata"]["labels"]
            for part in ("scheduler", "worker")
        ]
        # the operator's own, beside those that it copies
        labels += [{"dask.org/cluster-name": cluster["metadata"]["name"], "dask.org/component": "scheduler"}]
    selected = 0
    for one in documents(name):
        match one["kind"]:
            case "Service":
                selector = one["spec"]["selector"]
            case "PodDisruptionBudget":
                selector = one["spec"]["selector"]["matchLabels"]
            case "NetworkPolicy":
                expression = one["spec"]["podSelector"]["matchExpressions"][0]
                selector = one["spec"]["podSelector"]["matchLabels"] | {expression["key"]: expression["values"][0]}
            case _:
                continue
        selected += 1
        assert any(selector.items() <= found.items() for found in labels), one["metadata"]["name"]
    assert selected >= 3
