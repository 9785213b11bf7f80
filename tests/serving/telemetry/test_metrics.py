from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import Client
from tests.support.shop import Shop, picture


def values(client: Client) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_every_stage_and_route_is_measured(served: tuple[Shop, Client]) -> None:
    shop, client = served
    client.post("/v1/search", files={"image": ("x.png", picture(1))})
    client.get("/v1/products/shoes/006.png")
    client.get("/no/such/place")
    client.wait_for_queries(0)  # a probe may be under way
    found = values(client)
    for stage in ("decode", "queue", "encode", "search", "hydrate"):
        assert found[f"lookalike_stage_seconds_count{{stage={stage}}}"] >= 1
    requests = {name for name in found if name.startswith("lookalike_request_seconds_count")}
    assert any("route=/v1/search,status=200" in name for name in requests)
    assert any("route=/v1/products/{product_id:product},status=200" in name for name in requests)
    assert any("route=unmatched,status=404" in name for name in requests)
    snapshot = shop.channel.current().snapshot
    assert found[f"lookalike_snapshot_info{{channel=current,encoder=fake,snapshot={snapshot}}}"] == 1
    assert found["lookalike_snapshot_products{}"] == 24
    assert found["lookalike_batch_size_count{}"] >= 1


def test_labels_are_never_a_callers_to_make(client: Client) -> None:
    client.request("BREW", "/v1/search")
    client.get("/a/b/c/d")
    text = client.get("/metrics").text
    assert "BREW" not in text
    assert "/a/b/c/d" not in text


def test_names_are_ours(client: Client) -> None:
    names = re.findall(r"^# HELP (\S+)", client.get("/metrics").text, re.MULTILINE)
    assert all(name.startswith(("lookalike_", "process_", "python_")) for name in names)


def test_several_processes_are_one(tmp_path: Path) -> None:
    script = (
        "from lookalike.serving.telemetry.metrics import Metrics; "
        "m = Metrics(); m.swaps.inc(); m.queue.set(2); m.serve('c', 's', 'e'); {}"
    )
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""}

    def run(more: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script.format(more)], env=environment, check=True, capture_output=True, text=True
        ).stdout

    run("")
    text = run("print(m.render().decode())")
    assert "lookalike_swaps_total 2.0" in text
    assert "lookalike_queue_depth 2.0" in text  # the first process is dead, and its gauges with it
    assert 'lookalike_snapshot_info{channel="c",encoder="e",snapshot="s"} 1.0' in text
