from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.telemetry import AUDIT
from tests.serving.conftest import Serve
from tests.support.client import Client, wait_for
from tests.support.shop import Shop

KEY, TEXT = create_key("operator", [AccessScope.ADMIN])
KEYS = KeysDocument(keys=(KEY,)).model_dump_json()
ADMIN = {"Authorization": f"Bearer {TEXT}"}


def served(client: Client) -> str:
    held = client.runtime.follower.current
    return str(held.manifest.id) if held else ""


def test_a_reload_looks_at_the_channel_now(shop: Shop, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, AUDIT)
    first = shop.publish(8)
    client = serve(poll_seconds=3600.0, access={"keys": KEYS})
    wait_for(lambda: served(client), lambda found: found == first.id)
    second = shop.publish(9)
    response = client.post("/v1/admin/reload", headers=ADMIN)
    assert (response.status_code, response.json()) == (202, {"snapshot": first.id})
    wait_for(lambda: served(client), lambda found: found == second.id)
    fields = next(vars(record)["fields"] for record in caplog.records if record.name == AUDIT)
    assert fields == {
        "action": "reload", "result": "accepted", "from": "127.0.0.1", "who": KEY.id, "kind": "key", "name": "operator",
        "request_id": response.headers["x-request-id"],
    }  # fmt: skip
    assert TEXT not in json.dumps(fields)


def test_it_reaches_the_other_processes_of_this_machine(shop: Shop, serve: Serve) -> None:
    first = shop.publish(8)
    one, other = serve(poll_seconds=3600.0), serve(poll_seconds=3600.0)
    for client in (one, other):
        wait_for(lambda client=client: served(client), lambda found: found == first.id)  # type: ignore[misc]
    second = shop.publish(9)
    assert one.post("/v1/admin/reload").status_code == 202  # without keys, from this machine
    for client in (one, other):
        wait_for(lambda client=client: served(client), lambda found: found == second.id)  # type: ignore[misc]


def test_what_was_refused_is_tried_again_at_once(shop: Shop, serve: Serve, tmp_path: Path) -> None:
    first = shop.publish(8)
    client = serve(poll_seconds=3600.0)
    wait_for(lambda: served(client), lambda found: found == first.id)
    second = shop.build(9, first_seed=500)
    file = tmp_path / "store" / second.shards[0].index.key
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    shop.point_at(second)
    client.post("/v1/admin/reload")
    client.wait(lambda state: state["refused"] is not None)
    file.write_bytes(whole)
    client.post("/v1/admin/reload")
    wait_for(lambda: served(client), lambda found: found == second.id)


def test_the_route_itself_asks_for_the_scope(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the policy ever be wrong, the route still holds."""
    client = serve(access={"keys": KEYS})
    monkeypatch.setattr(client.runtime.policy, "needed_scope", lambda operation: None)
    response = client.post("/v1/admin/reload")
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


def test_strangers_learn_little_from_probes(shop: Shop, serve: Serve, tmp_path: Path) -> None:
    client = serve(access={"keys": KEYS})
    state = client.wait(lambda state: state["store"]["state"] == "empty")
    assert str(tmp_path) not in json.dumps(state)
    assert state["store"]["detail"] == ""
    assert not state["ready"]
    everybody = serve().wait(lambda state: state["store"]["state"] == "empty")
    assert str(tmp_path) in json.dumps(everybody)


@pytest.mark.parametrize("path", ["/v1/products", "/metrics", "/v1/snapshots/current", "/favicon.png"])
def test_everything_else_takes_a_key(shop: Shop, serve: Serve, path: str) -> None:
    client = serve(access={"keys": KEYS})
    response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-security-policy"]
