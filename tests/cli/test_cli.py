"""The command line: data on stdout, one sentence for each mistake, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lookalike.cli import cli
from lookalike.data.catalogue.rejects import Reject, RejectLog, store_rejects
from lookalike.data.reports import write_report
from lookalike.data.stores import open_store
from tests.support.reports import run_report
from tests.support.shop import ODD_ID, Shop, picture, write_pictures


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(open_store(str(tmp_path / "store")), tmp_path)


@pytest.fixture
def query(tmp_path: Path) -> str:
    (tmp_path / "query.png").write_bytes(picture(0))
    return str(tmp_path / "query.png")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_search_finds_the_picture_itself(shop: Shop, query: str) -> None:
    manifest = shop.publish()
    found = call("search", query, "--store", shop.store.uri, "-k", "3", "--output", "json")
    assert found.exit_code == 0, found.output
    answer = json.loads(found.stdout)
    assert answer["snapshot"] == manifest.id
    assert [len(answer["hits"]), answer["hits"][0]["id"]] == [3, ODD_ID]
    text = call("search", query, "--store", shop.store.uri, "-k", "3", "--filter", "category=hats")
    assert len(text.stdout.splitlines()) == 3
    assert ODD_ID not in text.stdout


def test_a_title_moves_no_cursor(shop: Shop, query: str, tmp_path: Path) -> None:
    rows = write_pictures(tmp_path, 8)
    rows[0] |= {"title": "nice \x1b]0;owned\x07\n0.999  fake", "attributes": {"note": "\x9b2J\u202e"}}
    shop.point_at(shop.build_rows(rows))
    text = call("search", query, "--store", shop.store.uri, "-k", "2").stdout
    assert r"nice \u001b]0;owned\u0007\n0.999  fake" in text
    assert len(text.splitlines()) == 2
    found = call("search", query, "--store", shop.store.uri, "-k", "1", "--output", "json").stdout
    assert found.replace("\n", "").isprintable()
    assert json.loads(found)["hits"][0]["attributes"]["note"] == "\x9b2J\u202e"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--filter", "colour=red"], 2, "no attribute 'colour'"),
        (["--filter", "nonsense"], 2, "write category=shoes"),
        (["--channel", "canary"], 1, "nothing has been published to channel 'canary'"),
        (["--channel", "No Name"], 2, "is no channel name"),
        (["--url", "http://127.0.0.1:9"], 1, "does not answer"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_says_what_is_wrong(shop: Shop, query: str, arguments: list[str], code: int, says: str) -> None:
    shop.publish()
    result = call("search", query, "--store", shop.store.uri, *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_query_that_is_no_picture(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    (tmp_path / "text.png").write_text("no picture")
    result = call("search", str(tmp_path / "text.png"), "--store", shop.store.uri)
    assert (result.exit_code, "cannot be used: not a picture" in result.stderr) == (2, True)


def test_a_catalogue_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    result = call("reindex", str(tmp_path / "nowhere"), "--store", str(tmp_path))
    assert (result.exit_code, "there is no catalogue at" in result.stderr) == (2, True)


def test_snapshots_are_listed_shown_verified_and_promoted(shop: Shop) -> None:
    first, second = shop.publish(8), shop.publish(9)
    store = ["--store", shop.store.uri]
    listed = json.loads(call("snapshots", "list", "--output", "json", *store).stdout)
    assert [row["snapshot"] for row in listed] == [first.id, second.id]
    assert json.loads(call("snapshots", "show", *store).stdout)["id"] == second.id
    assert call("snapshots", "verify", *store).exit_code == 0
    assert call("snapshots", "promote", first.id, *store).exit_code == 0
    current = shop.channel.current()
    assert (current.number, current.snapshot) == (3, first.id)
    shop.store.delete(first.shards[0].index.key)
    damaged = call("snapshots", "verify", *store)
    assert (damaged.exit_code, first.shards[0].index.sha256 in damaged.stderr) == (1, True)


def test_encoders_are_listed_and_shown(shop: Shop) -> None:
    assert "efficientnet-lite0" in call("encoders", "list").stdout.split()
    shown = json.loads(call("encoders", "show", "fake", "--store", shop.store.uri).stdout)
    assert (shown["name"], shown["stored"]) == ("fake", None)
    assert call("encoders", "show", "none", "--store", shop.store.uri).exit_code == 1


@pytest.mark.parametrize("verb", [[], ["demo"], ["reindex"], ["serve"], ["search"], ["snapshots"], ["doctor"]])
def test_each_verb_explains_itself(verb: list[str]) -> None:
    result = call(*verb, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_help_answers_at_once() -> None:
    """Each verb imports what it needs when it runs: with these libraries `--help` would take seconds."""
    code = "import sys, lookalike.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "click" in loaded
    assert not loaded & {"numpy", "pyarrow", "pydantic", "fsspec", "faiss", "prefect", "dask", "fastapi", "torch"}


def test_gc_of_a_folder_that_is_no_store_says_so_and_deletes_nothing(tmp_path: Path) -> None:
    bill = tmp_path / "reports" / "2024" / "bill.json"
    bill.parent.mkdir(parents=True)
    bill.write_text("{}")
    result = call("snapshots", "gc", "--store", str(tmp_path), "--grace", "0s")
    assert result.exit_code == 2
    assert "is no store of Lookalike" in result.output
    assert bill.exists()


def test_rejects_of_the_last_run_are_listed(shop: Shop, tmp_path: Path) -> None:
    log = RejectLog(tmp_path / "log.parquet")
    log.extend(
        [
            Reject("a", "https://u:secret@shop.example/a.jpg", "read", "damaged", "cut \x1b[2Joff"),
            Reject("b", "b.jpg", "read", "missing", "no such file"),
        ]
    )
    stored = store_rejects(shop.store, "20261123T030000Z-1", [log], tmp_path)
    write_report(shop.store, run_report(rejects=stored))
    write_report(shop.store, run_report(2, state="skipped", rejects=None))
    text = call("snapshots", "rejects", "--store", shop.store.uri, "--limit", "1")
    assert text.stdout == "damaged  a  https://…@shop.example/a.jpg  cut \\u001b[2Joff\n"
    assert "1 of 2 rejected products" in text.stderr
    listed = json.loads(call("snapshots", "rejects", "--store", shop.store.uri, "--output", "json").stdout)
    assert [(one["id"], one["reason"]) for one in listed] == [("a", "damaged"), ("b", "missing")]


def test_a_channel_without_a_run_has_no_rejects(shop: Shop) -> None:
    found = call("snapshots", "rejects", "--store", shop.store.uri)
    assert (found.exit_code, "has had no run yet" in found.stderr) == (1, True)


def test_a_column_that_is_missing_is_told_before_prefect_starts(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("sku,picture\n1,a.png\n")
    code = (
        "import sys; from click.testing import CliRunner; from lookalike.cli import cli\n"
        f"done = CliRunner().invoke(cli, ['reindex', {str(tmp_path / 'products.csv')!r}])\n"
        "print(done.exit_code, done.stderr); sys.exit('prefect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 Error:")
    assert "id" in done.stdout
