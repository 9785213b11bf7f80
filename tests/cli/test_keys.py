"""`lookalike keys`: what operators do with keys, on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lookalike.cli import cli
from lookalike.serving.access.keys import KeyRing, read_keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def call(file: Path, *arguments: str) -> Result:
    return CliRunner(env={"LOOKALIKE_ACCESS__KEYS_FILE": str(file)}).invoke(cli, ["keys", *arguments])


def test_created_listed_and_revoked(file: Path) -> None:
    made = call(file, "create", "--scope", "search", "--scope", "admin", "--name", "web shop", "--expires", "90d")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    found = KeyRing(read_keys(file)).find(text, datetime.now(UTC))
    assert (found.name, set(found.scopes)) == ("web shop", {"search", "admin"})  # type: ignore[union-attr]
    [row] = json.loads(call(file, "list", "--output", "json").stdout)
    assert (row["name"], row["expired"], row["scopes"]) == ("web shop", False, ["admin", "search"])
    listed = call(file, "list")
    assert "web shop" in listed.stdout
    for secret in (text.split("_", 2)[2], read_keys(file)[0].sha256):
        assert secret not in listed.stdout
        assert secret not in str(row)
    assert call(file, "revoke", row["id"]).exit_code == 0
    assert read_keys(file) == ()


def test_a_key_for_a_script(file: Path) -> None:
    made = json.loads(call(file, "create", "--name", "x", "--output", "json").stdout)
    assert (made["scopes"], made["expires_at"]) == (["search"], None)
    assert made["key"].startswith(f"lk_{made['id']}_")
    assert "sha256" not in made


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["revoke", "0000000000"], "there is no key '0000000000'"),
        (["create", "--name", "x", "--expires", "soon"], "is no duration"),
        (["create", "--name", ""], "such a key cannot be"),
        (["create", "--name", "x", "--scope", "root"], "'root' is not one of"),
        (["create"], "Missing option '--name'"),
    ],
)
def test_says_what_is_wrong(file: Path, arguments: list[str], says: str) -> None:
    call(file, "create", "--name", "there is one")
    result = call(file, *arguments)
    assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert len(read_keys(file)) == 1


def test_it_wants_to_know_the_file() -> None:
    result = CliRunner().invoke(cli, ["keys", "list"])
    assert (result.exit_code, "LOOKALIKE_ACCESS__KEYS_FILE" in result.stderr) == (2, True)
