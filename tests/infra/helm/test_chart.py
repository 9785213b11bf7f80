"""The chart: what it renders, whether Kubernetes and its extensions would take that, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.engine import ROOT
from tests.support.helm_tools import CHART, HelmTools
from tests.support.image_tools import Tools

pytestmark = [pytest.mark.system, pytest.mark.slow]

HERE = Path(__file__).parent
SETS = ("minimal", "full", "canary")
VERSIONS = ("1.33", "1.35", "1.37")
CUSTOM = {
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
    "GRPCRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
}
DASK = {"DaskCluster", "DaskAutoscaler"}


def values(name: str) -> list[str]:
    return ["--values", str(HERE / "values" / f"{name}.yaml")]


def objects(rendered: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(rendered) if one]


def pods(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each pod that these objects start, by kind and name."""
    specs: dict[str, dict[str, Any]] = {}
    for one in found:
        name = f"{one['kind']} {one['metadata']['name']}"
        match one["kind"]:
            case "Pod":
                specs[name] = one["spec"]
            case "Deployment" | "Job":
                specs[name] = one["spec"]["template"]["spec"]
            case "DaskCluster":
                specs |= {f"{name} {part}": one["spec"][part]["spec"] for part in ("worker", "scheduler")}
    return specs


@pytest.mark.parametrize("name", SETS)
def test_lint_has_nothing_to_say(helm_tools: HelmTools, name: str) -> None:
    helm_tools.run("bin/helm", "lint", "--strict", "--quiet", str(CHART), *values(name))


@pytest.mark.parametrize("name", SETS)
def test_it_renders_what_was_reviewed(helm_tools: HelmTools, name: str) -> None:
    """Change the file with `helm template shop infra/helm/lookalike --namespace shops --values …`, and review it."""
    assert helm_tools.render(*values(name)) == (HERE / "golden" / f"{name}.yaml").read_text()


def test_the_three_sets_render_every_template() -> None:
    rendered = "".join((HERE / "golden" / f"{name}.yaml").read_text() for name in SETS)
    templates = {file.relative_to(CHART).as_posix() for file in CHART.glob("templates/**/*.yaml")}
    assert {name for name in templates if f"# Source: lookalike/{name}" not in rendered} == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(helm_tools: HelmTools, version: str) -> None:
    files = [str(HERE / "golden" / f"{name}.yaml") for name in SETS]
    said = helm_tools.run("bin/kubernetes-validate", "-k", version, "--strict", *files)
    unknown = {line.split(" for kind ")[1].split()[0] for line in said.splitlines() if " for kind " in line}
    assert unknown == CUSTOM.keys() | DASK  # those are checked below
    assert said.count(" passed for resource ") > 20


def test_kubernetes_refuses_a_slip(helm_tools: HelmTools, tmp_path: Path) -> None:
    slip = tmp_path / "slip.yaml"
    slip.write_text((HERE / "golden" / "full.yaml").read_text().replace("periodSeconds:", "periodSecond:", 1))
    with pytest.raises(AssertionError, match="periodSecond"):
        helm_tools.run("bin/kubernetes-validate", "-k", "1.35", "--strict", str(slip))


def check_types(tools: HelmTools, folder: Path, found: list[dict[str, Any]]) -> None:
    """Let TypeScript compare objects with the types that were made of their kinds' schemas, as literals: so a field
    that the schema does not name is a fault as well."""
    lines = [f'import type {{ I{kind} }} from "{package}";' for kind, package in CUSTOM.items()]
    lines += [f"export const x{number}: I{one['kind']} = {json.dumps(one)};" for number, one in enumerate(found)]
    file = tools.folder / f"{folder.name}.mts"
    file.write_text("\n".join(lines))
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
    try:
        tools.run("node_modules/.bin/tsc", *options, str(file))
    finally:
        file.unlink()


def custom_objects() -> list[dict[str, Any]]:
    rendered = "---\n".join((HERE / "golden" / f"{name}.yaml").read_text() for name in SETS)
    return [one for one in objects(rendered) if one["kind"] in CUSTOM]


def test_the_operators_of_others_take_it(helm_tools: HelmTools, tmp_path: Path) -> None:
    found = custom_objects()
    assert {one["kind"] for one in found} == CUSTOM.keys()
    check_types(helm_tools, tmp_path, found)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("ServiceMonitor", '"endpoints"', '"endpoint"'),
        ("ScaledObject", '"minReplicaCount"', '"minReplicas"'),
        ("HTTPRoute", '"weight": 90', '"weight": "90"'),
        ("GRPCRoute", '"backendRefs"', '"backends"'),
        ("PrometheusRule", '"record"', '"recorded"'),
    ],
)
def test_the_operators_of_others_refuse_a_slip(
    helm_tools: HelmTools, tmp_path: Path, kind: str, right: str, wrong: str
) -> None:
    text = json.dumps([one for one in custom_objects() if one["kind"] == kind])
    assert right in text
    with pytest.raises(AssertionError, match=r"error TS\d+"):
        check_types(helm_tools, tmp_path, json.loads(text.replace(right, wrong)))


def closed(schema: Any) -> Any:
    """Return a schema that refuses fields which it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(one) for name, one in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def test_dasks_operator_takes_it_and_refuses_a_slip(helm_tools: HelmTools) -> None:
    found = [one for one in objects((HERE / "golden" / "canary.yaml").read_text()) if one["kind"] in DASK]
    assert {one["kind"] for one in found} == DASK
    for one in found:
        schema = closed(helm_tools.dask_schema(one["kind"]))
        without: dict[str, Any] = {"apiVersion": {}, "kind": {}, "metadata": {}}
        schema["properties"] = {**without, **schema["properties"]}
        jsonschema.validate(one, schema)
        slip = json.loads(json.dumps(one).replace('"replicas"', '"replica"').replace('"maximum"', '"maximal"'))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(slip, schema)


@pytest.mark.parametrize("name", SETS)
def test_no_pod_may_more_than_it_needs(name: str) -> None:
    found = pods(objects((HERE / "golden" / f"{name}.yaml").read_text()))
    assert found
    for pod, spec in found.items():
        assert spec["securityContext"]["runAsNonRoot"], pod
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, pod
        assert spec["automountServiceAccountToken"] is False, pod
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, pod
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), pod
            assert container["resources"]["limits"]["memory"], pod
            assert ":latest" not in container["image"], pod


def test_servers_have_no_right_of_the_batch_side() -> None:
    for name, spec in pods(objects((HERE / "golden" / "full.yaml").read_text())).items():
        given = json.dumps(spec)
        is_serving = "serving" in name or "test-ready" in name
        assert ("lookalike-store-batch" in given) <= (not is_serving), name
        assert ("lookalike-dask-tls" in given) <= (not is_serving), name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("serving.replica=3", "replica"),
        ("serving.replicas=many", "replicas"),
        ("store.uri=/srv/store", "uri"),
        ("dask.mode=yarn", "mode"),
        ("serving.resources.limits.memory=much", "memory"),
        ("ingress.enabled=true,gateway.enabled=true", "choose one of ingress and gateway"),
        ("ingress.enabled=true", "callers from outside would need no key: set serving.keysSecret"),
        ("serving.canary.enabled=true", "serving.canary takes gateway.enabled"),
        ("serving.autoscaling.enabled=true,serving.keda.enabled=true", "choose one of serving.autoscaling"),
        ("serving.settings.RATES__PER_KEY=6", "'RATES__PER_KEY' not allowed"),
        ("serving.settings.LOOKALIKE_PORT=x", "serving.settings: the chart sets LOOKALIKE_PORT"),
        ("prefect.settings.LOOKALIKE_STORE=x", "the chart sets LOOKALIKE_STORE by store.uri"),
        ("prefect.schedules.nightly=daily", "/prefect/schedules/nightly"),
        ("dask.autoscaling.enabled=true", "dask.autoscaling takes dask.mode: operator"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(helm_tools: HelmTools, given: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        helm_tools.render("--set", given)


@pytest.mark.parametrize(
    ("given", "deployment", "replicas"), [("serving.replicas=7", "serving", 7), ("dask.workers=9", "dask-worker", 9)]
)
def test_one_line_says_how_many(helm_tools: HelmTools, given: str, deployment: str, replicas: int) -> None:
    rendered = helm_tools.render("--set", f"{given},prefect.apiUrl=http://prefect:4200/api")
    found = {
        one["metadata"]["name"]: one["spec"]["replicas"] for one in objects(rendered) if one["kind"] == "Deployment"
    }
    assert found[f"shop-{deployment}"] == replicas


def test_shards_are_one_line(helm_tools: HelmTools) -> None:
    rendered = helm_tools.render("--set", "prefect.shards=16,prefect.apiUrl=http://prefect:4200/api")
    job = pods(objects(rendered))["Job shop-deployments"]
    assert {"name": "SHARDS", "value": "16"} in job["containers"][0]["env"]


@pytest.mark.parametrize(
    ("processors", "workers", "threads"),
    [("500m", 1, "1"), ("4", 1, "4"), ("1500m", 1, "2"), ("2.5", 1, "3"), ("4", 3, "1")],
)
def test_threads_are_those_of_the_requested_processors(
    helm_tools: HelmTools, processors: str, workers: int, threads: str
) -> None:
    texts = f"serving.resources.requests.cpu={processors},serving.settings.LOOKALIKE_BATCHING__DECODE_THREADS=7"
    rendered = helm_tools.render("--set", f"serving.workers={workers}", "--set-string", texts)
    spec = pods(objects(rendered))["Deployment shop-serving"]
    environment = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert environment["LOOKALIKE_BATCHING__ENCODER_THREADS"] == threads
    assert environment["LOOKALIKE_BATCHING__LANES"] == str(int(threads) + 1)
    assert environment["LOOKALIKE_BATCHING__DECODE_THREADS"] == "7"  # a person may know better


def test_a_pod_without_a_snapshot_is_left_to_wait(helm_tools: HelmTools) -> None:
    spec = pods(objects(helm_tools.render()))["Deployment shop-serving"]
    paths = {
        kind: spec["containers"][0][f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_another_dask_cluster_has_another_name(helm_tools: HelmTools) -> None:
    """The operator takes over no other change of a cluster than its number of workers."""

    def name(*given: str) -> str:
        [found] = [one for one in objects(helm_tools.render(*values("canary"), *given)) if one["kind"] == "DaskCluster"]
        return str(found["metadata"]["name"])

    assert name("--set", "dask.workers=5,dask.autoscaling.maximum=30") == name()
    assert name("--set", "images.tag=2.0.0") != name()


def test_the_package_holds_the_rules(helm_tools: HelmTools, tmp_path: Path) -> None:
    helm_tools.run("bin/helm", "package", str(CHART), "--destination", str(tmp_path))
    [package] = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        names = set(archive.getnames())
    assert {f"lookalike/rules/{name}.yml" for name in ("batch", "budgets", "serving")} <= names


def test_policies_find_what_the_docs_explain(image_tools: Tools) -> None:
    command = [image_tools.trivy, "config", "--skip-check-update", "--quiet", "--format", "json", str(HERE / "golden")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    results = json.loads(done.stdout)["Results"]
    found = {fault["ID"] for one in results for fault in one.get("Misconfigurations", [])}
    explained = (ROOT / "docs" / "kubernetes.md").read_text()
    assert sum(one["MisconfSummary"]["Successes"] for one in results) > 100
    assert found
    assert {one for one in found if f"| {one} |" not in explained} == set()


def test_a_name_that_leaves_no_room_is_refused(helm_tools: HelmTools) -> None:
    with pytest.raises(AssertionError, match="the release's name is too long"):
        helm_tools.run("bin/helm", "template", "a" * 40, str(CHART))
