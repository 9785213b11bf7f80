"""Reports: written once, read back newest first, and never in anybody's way."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from lookalike.data.errors import CorruptError, NotFoundError, StoreUnavailableError
from lookalike.data.reports import (
    FOLDER,
    KEPT,
    RunReport,
    last_state,
    read_report,
    recent_reports,
    report_key,
    write_contact_sheet,
    write_report,
)
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.gc import Retention, collect
from lookalike.data.snapshots.publishing import publish
from lookalike.data.stores.memory import MemoryStore
from tests.support.reports import FIRST, run_report
from tests.support.snapshots import draft

OLD = Retention(entries=1, grace=timedelta(seconds=-5))


class ListenedStore(MemoryStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def read(self, key: str) -> bytes:
        self.reads.append(key)
        if key.endswith("-00000063.json"):
            raise StoreUnavailableError("try later")
        return super().read(key)


def test_it_reads_back_and_a_second_one_changes_nothing() -> None:
    store = MemoryStore()
    report = run_report()
    key = write_report(store, report)
    assert key == f"reports/current/{report.run}.json"
    assert write_report(store, report.model_copy(update={"state": "failed"})) == key
    assert read_report(store, key) == report
    with pytest.raises(NotFoundError):
        read_report(store, report_key("current", "20261122T000000Z-x"))


def test_what_machines_read_is_at_the_top() -> None:
    found = run_report().model_dump(mode="json")
    expected = {"snapshot", "published", "products", "embedded", "reused", "rejected", "recall_at_10", "seconds"}
    assert expected | {"unchanged", "query_ms", "refused", "channel"} <= set(found)
    assert (found["published"], found["unchanged"], found["recall_at_10"], found["query_ms"]) == (
        True,
        False,
        0.997,
        0.25,
    )
    assert run_report(state="unchanged").unchanged
    assert json.loads(run_report().model_dump_json()) == found


def test_a_run_that_failed_at_once_can_be_reported() -> None:
    run = "20261122T151830Z-abcdef12"
    report = RunReport(
        run=run, kind="refresh", state="failed", channel="c", catalogue="x", started_at=FIRST, message="no store"
    )
    found = report.model_dump(mode="json")
    assert (found["snapshot"], found["published"], found["recall_at_10"], found["products"]) == (None, False, None, 0)


@pytest.mark.parametrize(
    "wrong", [{"run": "7"}, {"state": "done"}, {"figures": {"a": float("nan")}}, {"started_at": "2026-11-22T03:00"}]
)
def test_what_could_not_be_read_back_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run_report(**wrong)


def test_the_newest_come_first_and_no_more_are_read() -> None:
    store = ListenedStore()
    reports = [run_report(number) for number in range(20)]
    for report in reports:
        write_report(store, report)
    write_report(store, run_report(50, channel="canary"))
    assert recent_reports(store, "current", 3) == reports[:-4:-1]
    assert len(store.reads) == 3
    assert recent_reports(store, "nothing", 3) == []


def test_a_damaged_or_unreadable_report_is_skipped() -> None:
    store = ListenedStore()
    good = [run_report(number) for number in (1, 2)]
    for report in [*good, run_report(99)]:  # the last one cannot be read, see above
        write_report(store, report)
    for name, data in (("cut", b'{"run": "2026'), ("newer", run_report(3).model_dump_json().encode()[:-5] + b"}")):
        store.create(f"{FOLDER}current/20270101T000000Z-{name}.json", data)
    store.create(f"{FOLDER}current/notes.txt", b"somebody's")
    assert recent_reports(store, "current", 5) == good[::-1]
    with pytest.raises(CorruptError, match=r"cut\.json is damaged"):
        read_report(store, f"{FOLDER}current/20270101T000000Z-cut.json")


def test_a_state_of_a_newer_release_is_damage_to_this_one() -> None:
    store = MemoryStore()
    store.create(
        f"{FOLDER}current/20270101T000000Z-x.json",
        run_report().model_dump_json().replace("published", "moved").encode(),
    )
    assert recent_reports(store, "current", 5) == []


def test_the_last_state_is_that_of_the_run_of_its_kind_before_that_did_something() -> None:
    store = ListenedStore()
    assert last_state(store, run_report()) is None
    write_report(store, run_report(2, state="refused"))
    for number in range(3, 103):
        write_report(store, run_report(number, kind="refresh", state="unchanged"))
    write_report(store, run_report(103, state="skipped"))
    store.reads.clear()
    assert last_state(store, run_report(104, kind="refresh", state="failed")) == "unchanged"
    assert len(store.reads) == 2
    mended = run_report(105)
    write_report(store, mended)
    assert last_state(store, mended) == "refused"


def test_the_newest_reports_of_each_channel_are_kept() -> None:
    store = MemoryStore()
    publish_run(store, "20260101T000000Z-1")
    for number in range(KEPT + 3):
        store.create(f"{FOLDER}current/20260101T{number:06d}Z-x.json", b"{}")
    write_report(store, run_report(channel="canary"))
    gone = [found.key for found in collect(store, OLD).objects]
    assert gone == [f"{FOLDER}current/20260101T{number:06d}Z-x.json" for number in range(3)]
    assert collect(store, OLD).objects == []


def test_a_contact_sheet_goes_with_its_snapshot() -> None:
    store = MemoryStore()
    publish_run(store, "20260101T000000Z-1")
    for run in ("20260101T000000Z-1", "20260101T000000Z-2"):
        write_contact_sheet(store, run, b"png")
        write_contact_sheet(store, run, b"again")
    assert store.read("contact-sheets/20260101T000000Z-1.png") == b"png"
    assert collect(store).objects == []
    assert [found.key for found in collect(store, OLD).objects] == ["contact-sheets/20260101T000000Z-2.png"]


def publish_run(store: MemoryStore, run: str) -> None:
    publish(Channel(store), draft(store, [1], run=run), after=None, reason="x")
