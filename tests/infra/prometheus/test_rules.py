"""Rules for Prometheus: they parse, each alert fires and clears, and its page helps."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]

from lookalike.cli import cli
from tests.support.programs import need
from tests.support.servers import ROOT

PROMETHEUS = ROOT / "infra" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
CASES = sorted((Path(__file__).parent / "cases").glob("*.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGE = re.compile(r'\{\{ or \$externalLabels\.runbooks "docs/runbooks" \}\}/([a-z-]+\.md)')


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_the_example() -> None:
    need("promtool", package="prometheus")
    run("promtool", "check", "rules", *RULES)
    assert f"{len(RULES)} rule files found" in run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


def test_alertmanager_takes_the_example() -> None:
    need("amtool", package="prometheus-alertmanager")
    run("amtool", "check-config", PROMETHEUS / "alertmanager.yml")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_cases_hold(case: Path) -> None:
    need("promtool", package="prometheus")
    run("promtool", "test", "rules", case)


def test_a_case_that_is_wrong_fails(tmp_path: Path) -> None:
    need("promtool", package="prometheus")
    text = (Path(__file__).parent / "cases" / "zeros.yml").read_text().replace("../../../..", str(ROOT))
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace("value: 0}", "value: 7}", 1))
    done = subprocess.run(["promtool", "test", "rules", broken], capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_each_alert_fires_and_clears_in_a_case() -> None:
    seen: dict[str, list[bool]] = defaultdict(list)
    for case in CASES:
        for test in yaml.safe_load(case.read_text())["tests"]:
            for expected in test.get("alert_rule_test", ()):
                seen[expected["alertname"]].append(bool(expected.get("exp_alerts")))
    for alert in ALERTS:
        order = seen[alert]
        assert True in order, f"no case in which {alert} fires"
        fires = order.index(True)
        assert False in order[:fires], f"no case in which {alert} does not fire yet"
        assert False in order[fires:], f"no case in which {alert} clears"


def test_each_zero_rule_has_a_case() -> None:
    """What ends in `or 0 * …` is asked for where it is zero."""
    window = re.compile(r"(?<=:ratio)(30m|1h|6h|3d)$")  # the rules of all windows are alike
    anchored = {window.sub("5m", rule["record"]) for rule in rules() if "or 0 *" in rule["expr"]}
    zeros = (Path(__file__).parent / "cases" / "zeros.yml").read_text()
    asked = {window.sub("5m", name) for name in re.findall(r"expr: '(\S+)'", zeros)}
    assert len(anchored) > 10
    assert anchored <= asked


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    if not rule["expr"].startswith("absent("):
        assert "{{ $" in rule["annotations"]["description"], "a description names what it is about, and its values"
    found = PAGE.fullmatch(rule["annotations"]["runbook_url"])
    assert found, rule["annotations"]["runbook_url"]
    page = (RUNBOOKS / found[1]).read_text()
    assert f"`{alert}`" in page
    for heading in ("## What it looks like", "## Why", "## What to do"):
        assert heading in page, f"{found[1]} has no section {heading!r}"


def test_each_page_is_of_an_alert() -> None:
    linked = {match[1] for rule in ALERTS.values() if (match := PAGE.fullmatch(rule["annotations"]["runbook_url"]))}
    assert {path.name for path in RUNBOOKS.glob("*.md")} == linked | {"README.md"}
    index = (RUNBOOKS / "README.md").read_text()
    for alert in ALERTS:
        assert f"`{alert}`" in index


COMMANDS = [
    (path.name, line)
    for path in sorted(RUNBOOKS.glob("*.md"))
    for line in re.findall(r"^ *\$ (.+)$", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_of_the_pages_are_there(page: str, line: str) -> None:
    """Those of Lookalike with all their options; of other programs those that we install, or that each machine has."""
    words = shlex.split(line)
    if words[0] != "lookalike":
        assert words[0] in {"curl", "prefect", "df", "du", "openssl", "promtool", "kill", "dask", "journalctl"}, line
        return
    command: click.Command = cli
    for word in words[1:]:
        if isinstance(command, click.Group):
            assert word in command.commands, f"{page}: {line}: there is no {word!r}"
            command = command.commands[word]
        elif word.startswith("-"):
            options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
            assert word.partition("=")[0] in options, f"{page}: {line}: there is no option {word!r}"


def test_serving_metrics_that_rules_ask_for_are_there() -> None:
    """A rule about a metric that nobody exports never fires, and nobody notices."""
    from lookalike.flows.reporting import metrics as batch
    from lookalike.serving.telemetry.metrics import Metrics

    exported = {family.name for family in Metrics().families()}
    source = Path(batch.__file__).read_text()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {
        name
        for rule in rules()
        for name in re.findall(r"\blookalike[a-z0-9_:]+", re.sub(r'"[^"]*"', '""', rule["expr"]))
    }
    assert len(asked) > 20
    for name in asked - recorded:
        if name.startswith("lookalike_batch_") and not name.startswith(("lookalike_batch_size", "lookalike_batches")):
            assert name.removeprefix("lookalike_batch_") in source, name
        else:
            assert re.sub(r"_(total|bucket|sum|count)$", "", name) in exported, name
