"""The routes of operators: what they read, what they move and in whose name, and who may not."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.catalogue.rejects import Reject, RejectLog, store_rejects
from lookalike.data.reports import write_contact_sheet, write_report
from lookalike.data.snapshots.store import list_pins
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.telemetry import AUDIT
from tests.serving.conftest import Serve
from tests.support.client import Client, wait_for
from tests.support.reports import run_report
from tests.support.shop import Shop, picture

KEY, TEXT = create_key("Ann", [AccessScope.ADMIN])
SEARCH, SEARCH_TEXT = create_key("shop", [AccessScope.SEARCH])
KEYS = KeysDocument(keys=(KEY, SEARCH)).model_dump_json()
ANN = {"Authorization": f"Bearer {TEXT}"}
PATHS = ("/v1/admin/channels", "/v1/admin/channels/current", "/v1/admin/snapshots", "/v1/admin/runs")


@pytest.fixture
def client(shop: Shop, serve: Serve) -> Client:
    """A server that may move channels, over two snapshots; Ann is its operator."""
    shop.publish(8)
    shop.publish(9)
    client = serve(access={"keys": KEYS}, console={"moves": True}, poll_seconds=3600.0)
    client.wait(lambda state: state["ready"])
    return client


def get(client: Client, path: str) -> Any:
    reply = client.get(path, headers=ANN)
    assert reply.status_code == 200, reply.text
    return reply.json()


def names(shop: Shop) -> list[str]:
    return [entry.snapshot for entry in shop.channel.history()]


def code(client: Client, path: str, method: str = "post", **body: Any) -> tuple[int, str]:
    reply = client.request(method, path, json=body, headers=ANN)
    return reply.status_code, reply.json()["code"]


def test_what_there_is(client: Client, shop: Shop) -> None:
    first, second = names(shop)
    found = get(client, "/v1/admin/channels")
    assert (found["follows"], found["serves"], found["may_move"]) == ("current", second, True)
    assert [(one["channel"], one["snapshot"], one["held"]) for one in found["channels"]] == [("current", second, False)]
    entries = get(client, "/v1/admin/channels/current?limit=1")["entries"]
    assert [(one["number"], one["moved_by"], one["reason"]) for one in entries] == [(2, "tests", "a test")]
    lines = {line["snapshot"]: line for line in get(client, "/v1/admin/snapshots")["snapshots"]}
    assert (lines[second]["channels"], lines[second]["products"]) == (["current"], 9)
    assert (lines[first]["channels"], lines[first]["encoder"], lines[first]["run"]) == ([], "fake", None)
    assert get(client, "/v1/admin/runs") == {"runs": []}


def test_a_rollback_is_made_in_the_name_of_a_key_and_served_at_once(
    client: Client, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, AUDIT)
    first, second = names(shop)
    reply = client.post("/v1/admin/channels/current/rollback", json={"reason": "hats look like shoes"}, headers=ANN)
    assert reply.status_code == 200, reply.text
    entry = shop.channel.current()
    assert (entry.snapshot, entry.reason, entry.held) == (first, "hats look like shoes", True)
    assert entry.moved_by == f"Ann (key {KEY.id})" == reply.json()["moved_by"]
    wait_for(lambda: get(client, "/v1/admin/channels")["serves"], lambda serves: serves == first)
    asked = {"snapshot": second, "reason": "repaired"}
    assert client.post("/v1/admin/channels/current/promote", json=asked, headers=ANN).json()["held"] is False
    assert shop.channel.current().snapshot == second
    acts = [vars(record)["fields"] for record in caplog.records if record.name == AUDIT]
    assert [(act["action"], act["result"], act["name"]) for act in acts] == [
        ("roll back current", "done", "Ann"),
        ("promote current", "done", "Ann"),
    ]


def test_a_pin(client: Client, shop: Shop) -> None:
    first, _ = names(shop)
    pinned = client.request("put", f"/v1/admin/pins/{first}", json={"note": "christmas"}, headers=ANN).json()
    assert (pinned["snapshot"], pinned["note"], pinned["pinned_by"]) == (first, "christmas", f"Ann (key {KEY.id})")
    assert list_pins(shop.store) == [first]
    for _ in range(2):
        assert client.request("delete", f"/v1/admin/pins/{first}", headers=ANN).status_code == 204
    assert list_pins(shop.store) == []


def test_what_cannot_be_done_says_so(client: Client, shop: Shop) -> None:
    first, second = names(shop)
    promote, back = "/v1/admin/channels/current/promote", "/v1/admin/channels/current/rollback"
    assert code(client, promote, snapshot="20260101T000000Z-00000000", reason="a test") == (404, "unknown_snapshot")
    assert code(client, promote, snapshot=first) == (422, "bad_field")
    assert code(client, promote, snapshot=first, reason="a test", colour="red") == (422, "bad_field")
    assert code(client, "/v1/admin/channels/Summer/rollback", reason="a test") == (400, "bad_request")
    assert code(client, "/v1/admin/channels/summer/rollback", reason="a test") == (404, "unknown_snapshot")
    assert code(client, "/v1/admin/pins/20260101T000000Z-00000000", "put") == (404, "unknown_snapshot")
    assert client.get("/v1/admin/channels/summer", headers=ANN).json()["code"] == "unknown_snapshot"
    assert client.get("/v1/admin/snapshots?limit=0", headers=ANN).json()["code"] == "bad_limit"
    broken = client.post(back, content=b"{", headers={**ANN, "content-type": "application/json"})
    assert (broken.status_code, broken.json()["code"]) == (400, "malformed_json")
    client.post(back, json={"reason": "a test"}, headers=ANN)
    assert code(client, back, reason="once more") == (404, "unknown_snapshot")
    assert names(shop) == [first, second, first]


def test_a_server_moves_nothing_unless_it_is_told_to(shop: Shop, serve: Serve) -> None:
    manifest = shop.publish(8)
    client = serve(access={"keys": KEYS})
    assert get(client, "/v1/admin/channels")["may_move"] is False
    asked = {"snapshot": manifest.id, "reason": "a test"}
    assert code(client, "/v1/admin/channels/current/promote", **asked) == (403, "moves_off")
    assert code(client, f"/v1/admin/pins/{manifest.id}", "put") == (403, "moves_off")
    assert len(names(shop)) == 1


@pytest.mark.parametrize("path", PATHS)
def test_it_takes_the_scope_of_operators(client: Client, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"X-API-Key": SEARCH_TEXT}).json()["code"] == "forbidden"
    move = f"{PATHS[1]}/rollback"
    assert client.post(move, json={"reason": "a test"}, headers={"X-API-Key": SEARCH_TEXT}).status_code == 403


def test_a_past_snapshot_answers_beside_the_served_one(shop: Shop, serve: Serve) -> None:
    old = [shop.publish(count, first_seed=seed) for count, seed in ((8, 0), (9, 100), (10, 200))]
    shop.publish(11, first_seed=300)
    client = serve(access={"keys": KEYS}, console={"past_snapshots": 1})
    client.wait(lambda state: state["ready"])

    def ask(snapshot: str) -> Any:
        return client.post(
            "/v1/search", json={"product_id": "a", "snapshot": snapshot}, headers={"X-API-Key": SEARCH_TEXT}
        )

    def open_one(**asked: Any) -> Any:
        reply = client.post("/v1/admin/open", json=asked, headers=ANN)
        assert reply.status_code == 200, reply.text
        return reply.json()

    assert ask(old[0].id).json()["code"] == "snapshot_not_held"
    opened = open_one(snapshot=old[0].id)
    assert (opened["snapshot"], opened["products"], opened["encoder"]) == (old[0].id, 8, "fake")
    assert ask(old[0].id).json()["snapshot"] == old[0].id
    assert client.get("/readyz").json()["snapshot"] == shop.channel.current().snapshot
    assert open_one(snapshot="previous")["snapshot"] == old[2].id
    assert ask(old[0].id).json()["code"] == "snapshot_not_held"  # one at a time is all that may be
    moved = next(entry for entry in shop.channel.history() if entry.snapshot == old[1].id).moved_at
    assert open_one(as_of=moved.isoformat())["snapshot"] == old[1].id
    assert len(client.runtime.follower.loaded) == 2
    assert code(client, "/v1/admin/open", as_of="2020-01-01T00:00:00Z") == (404, "unknown_snapshot")
    assert code(client, "/v1/admin/open", as_of="2020-01-01") == (422, "bad_field")


def test_a_server_opens_no_past_snapshot_unless_it_is_told_to(client: Client) -> None:
    assert code(client, "/v1/admin/open") == (403, "past_off")


def test_what_the_last_run_left_out_and_how_its_answers_look(client: Client, shop: Shop, tmp_path: Path) -> None:
    log = RejectLog(tmp_path / "log.parquet")
    reasons = ["damaged"] * 3 + ["missing"]
    log.extend(
        Reject(f"p{number}", f"https://ann:secret@cdn.test/{number}.png?token=abc", "read", reason, "why")
        for number, reason in enumerate(reasons)
    )
    report = run_report(rejected=4, reject_reasons={"damaged": 3, "missing": 1})
    assert client.get("/v1/admin/rejects", headers=ANN).json()["code"] == "unknown_run"
    key = store_rejects(shop.store, report.run, [log], tmp_path)
    sheet = write_contact_sheet(shop.store, report.run, picture(1))
    write_report(shop.store, report.model_copy(update={"rejects": key, "contact_sheet": sheet}))

    found = get(client, "/v1/admin/rejects?limit=2")
    assert (found["run"], found["total"], found["reasons"]) == (report.run, 4, {"damaged": 3, "missing": 1})
    assert [one["id"] for one in found["rejects"]] == ["p0", "p1"]
    assert not {"secret", "abc"} & set(re.split(r"\W", found["rejects"][0]["reference"]))
    assert [one["id"] for one in get(client, "/v1/admin/rejects?reason=missing")["rejects"]] == ["p3"]
    (run,) = get(client, "/v1/admin/runs")["runs"]
    assert run["contact_sheet"] is True
    reply = client.get(f"/v1/admin/runs/{run['run']}/contact-sheet", headers=ANN)
    assert (reply.headers["content-type"], reply.content) == ("image/png", picture(1))
    other = run["run"].replace("2026", "2025")
    assert client.get(f"/v1/admin/runs/{other}/contact-sheet", headers=ANN).json()["code"] == "unknown_run"
    assert client.get("/v1/admin/runs/..%2Fx/contact-sheet", headers=ANN).status_code in {404, 422}
