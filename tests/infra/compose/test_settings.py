"""`compose.yaml` and what is beside it: what can be said without an engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from dask.utils import parse_bytes

from lookalike.infra import deployments
from tests.support.compose import FOLDER
from tests.support.engine import ROOT, run
from tests.support.image_tools import Tools

EXAMPLE = FOLDER / ".env.example"
TASKS = {"prepare", "sample", "first-run", "cli", "balancer-admin"}
CERTIFICATES = str(FOLDER / "make_certificates.sh")


def documented() -> dict[str, str]:
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_the_example_names_what_compose_reads_and_nothing_else() -> None:
    read = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)\}", (FOLDER / "compose.yaml").read_text()))
    assert documented().keys() == read | {"COMPOSE_PROFILES"}


def test_each_has_a_sentence_and_no_secret_has_a_value() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z]", line):
            assert re.match(r"# \w.{4,}", lines[number - 1]), line
    assert {name: value for name, value in documented().items() if name.endswith("_PASSWORD") and value} == {}


def test_settings_get_passwords_of_their_own_and_are_private(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    run([str(FOLDER / "make_settings.sh"), str(file)], timeout=30)
    made = dict(line.partition("=")[::2] for line in file.read_text().splitlines() if re.match(r"[A-Z]", line))
    secrets = [value for name, value in made.items() if name.endswith("_PASSWORD")]
    assert len(set(secrets)) == len(secrets) == 7
    assert {len(value) for value in secrets} == {48}
    assert file.stat().st_mode & 0o077 == 0
    assert {name: value for name, value in made.items() if not name.endswith("_PASSWORD")} == {
        name: value for name, value in documented().items() if not name.endswith("_PASSWORD")
    }
    before = file.read_text()
    run([str(FOLDER / "make_settings.sh"), str(file)], timeout=30)
    assert file.read_text() == before


def test_images_are_those_that_are_built() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    ours = {value for name, value in documented().items() if name.endswith("_IMAGE") and value.startswith("lookalike/")}
    makefile = (ROOT / "Makefile").read_text()
    built = {
        name
        for variable in ("TARGETS", "SERVICES")
        for name in re.search(rf"^{variable} \?= (.*)$", makefile, re.MULTILINE)[1].split()  # type: ignore[index]
    }
    assert ours == {f"lookalike/{name}:{version[1]}" for name in built}


def test_the_store_is_the_one_that_tests_ran_with() -> None:
    [pinned] = (FOLDER.parent / "images" / "services" / "seaweedfs.txt").read_text().split()
    assert pinned in (ROOT / "requirements" / "all.lock").read_text().split()


@pytest.fixture(scope="module")
def services(image_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Compose makes of it, with all profiles."""
    settings = tmp_path_factory.mktemp("compose") / "settings.env"
    run([str(FOLDER / "make_settings.sh"), str(settings)], timeout=30)
    command = ["docker-compose", "--project-directory", str(FOLDER), "--env-file", str(settings), "--profile", "*"]
    found: dict[str, Any] = json.loads(image_tools.run(*command, "config", "--format", "json"))["services"]
    return found


@pytest.mark.slow
def test_no_container_may_more_than_it_needs(services: dict[str, Any]) -> None:
    assert len(services) > 15
    for name, one in services.items():
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert not one.get("privileged"), name
        assert one.get("mem_limit") or name in {"cli", "balancer-admin"}, name
        assert one["restart"] == ("no" if name in TASKS else "unless-stopped"), name


@pytest.mark.slow
def test_a_dask_worker_may_use_the_memory_of_its_container(services: dict[str, Any]) -> None:
    worker = services["dask-worker"]
    limit = re.search(r"--memory-limit (\S+)", worker["command"][0])
    assert limit is not None
    assert 0.9 * int(worker["mem_limit"]) < parse_bytes(limit[1]) <= int(worker["mem_limit"])


@pytest.mark.slow
def test_only_this_host_reaches_a_published_port(services: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published.keys() == {"balancer", "prefect-server", "dask-scheduler", "prometheus", "alertmanager", "grafana"}
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}


@pytest.mark.slow
def test_what_runs_all_the_time_says_when_it_is_ready(services: dict[str, Any]) -> None:
    silent = {name for name, one in services.items() if name not in TASKS and "healthcheck" not in one}
    # serving has its check in the image; Grafana's cannot be had here, so nothing is known of it
    assert silent == {"serving", "serving-canary", "grafana"}


@pytest.mark.slow
def test_the_front_shares_no_network_with_what_it_must_not_reach(services: dict[str, Any]) -> None:
    def networks(name: str) -> set[str]:
        return set(services[name]["networks"])

    assert networks("balancer") == {"front"}
    for behind in ("seaweedfs", "store", "postgres", "redis", "prefect-server", "dask-scheduler", "dask-worker"):
        assert not networks(behind) & {"front"}, behind
    for behind in ("seaweedfs", "postgres", "redis", "prefect-server", "dask-scheduler", "dask-worker"):
        assert not networks(behind) & networks("serving"), behind


def test_deployments_take_the_catalogue_where_they_have_one() -> None:
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    given = {"catalogue": "s3://shop/table.csv", "encoder": None, "attribution": "ours", "channel": "spring"}
    found = {one["name"]: one["parameters"] for one in deployments.with_parameters(project, given)["deployments"]}
    assert {name: one.get("catalogue") for name, one in found.items()} == {
        "nightly": "s3://shop/table.csv",
        "frequent": "s3://shop/table.csv",
        "weekly": None,
        "by-hand": None,
    }
    # what is for all channels stays so
    assert {name: one["channel"] for name, one in found.items()} == {
        "nightly": "spring",
        "frequent": "spring",
        "weekly": None,
        "by-hand": "spring",
    }
    assert found["weekly"] == next(one["parameters"] for one in project["deployments"] if one["name"] == "weekly")


class TestCertificates:
    """Made once, kept, renewed in time, and refused when the authority ends."""

    def test_they_are_made_and_kept(self, tmp_path: Path) -> None:
        run([CERTIFICATES, str(tmp_path / "certificates")], timeout=60)
        folder = tmp_path / "certificates"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
        run(["openssl", "verify", "-CAfile", str(folder / "ca.pem"), str(folder / "dask.pem")], timeout=30)
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        said = run([CERTIFICATES, str(folder)], timeout=60)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        assert "is good until" in said

    def test_a_renewed_one_has_the_same_authority(self, tmp_path: Path) -> None:
        run([CERTIFICATES, str(tmp_path)], timeout=60)
        authority, old = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "dask.pem").read_bytes()
        said = run([CERTIFICATES, str(tmp_path)], environment={**os.environ, "RENEW": "1"}, timeout=60)
        assert (tmp_path / "ca.pem").read_bytes() == authority
        assert (tmp_path / "dask.pem").read_bytes() != old
        assert "--force-recreate" in said

    def test_without_the_authoritys_key_it_says_what_is_missing(self, tmp_path: Path) -> None:
        run([CERTIFICATES, str(tmp_path)], timeout=60)
        (tmp_path / "ca.key").unlink()
        done = subprocess.run(
            [CERTIFICATES, str(tmp_path)], env={**os.environ, "RENEW": "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "bring ca.key back" in done.stderr
