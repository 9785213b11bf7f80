from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import multiprocessing
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lookalike.data.errors import InputError
from lookalike.serving.access import keys
from lookalike.serving.access.keys import (
    ApiKey,
    KeyFault,
    KeyRing,
    KeysDocument,
    KeySource,
    add_key,
    claimed_id,
    create_key,
    parse_keys,
    read_keys,
    remove_key,
)
from lookalike.serving.context import AccessScope
from lookalike.serving.settings import Access
from lookalike.serving.telemetry.metrics import Metrics

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make(lifetime: timedelta | None = None) -> tuple[ApiKey, str]:
    return create_key("web shop", [AccessScope.SEARCH], lifetime=lifetime, now=NOW)


def test_a_key_is_found_by_what_its_owner_keeps() -> None:
    key, text = make()
    other, _ = make()
    assert KeyRing([other, key]).find(text, NOW) is key


def test_only_a_hash_is_stored() -> None:
    key, text = make()
    secret = text.split("_", 2)[2]
    stored = KeysDocument(keys=(key,)).model_dump_json()
    assert secret not in stored
    assert hashlib.sha256(secret.encode()).hexdigest() in stored
    assert secret not in repr(key)


def test_secrets_have_256_bits_and_never_repeat() -> None:
    secrets = {make()[1].split("_", 2)[2] for _ in range(200)}
    assert len(secrets) == 200
    assert all(len(secret) == 43 for secret in secrets)


def test_each_way_to_be_no_key() -> None:
    key, text = make()
    ring = KeyRing([key])
    last = "A" if text[-1] != "A" else "B"
    assert ring.find(text[:-1] + last, NOW) is KeyFault.WRONG_SECRET
    assert ring.find(make()[1], NOW) is KeyFault.UNKNOWN
    assert KeyRing().find(text, NOW) is KeyFault.UNKNOWN
    for odd in (
        "",
        "lk_",
        text[:-1],
        f"{text}A",
        f" {text}",
        f"{text}\n",
        text.upper(),
        text.replace("lk_", "sk_"),
        "ä",
    ):
        assert ring.find(odd, NOW) is KeyFault.MALFORMED, odd


def test_comparison_takes_constant_time_also_for_an_unknown_id(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return original(one, other)

    original = hmac.compare_digest
    monkeypatch.setattr("lookalike.serving.access.keys.hmac.compare_digest", compare)
    KeyRing().find(make()[1], NOW)
    assert len(compared) == 1


def test_a_key_ends_when_its_time_is_over() -> None:
    key, text = make(timedelta(days=90))
    ring = KeyRing([key])
    assert ring.find(text, NOW + timedelta(days=90, seconds=-1)) is key
    assert ring.find(text, NOW + timedelta(days=90)) is KeyFault.EXPIRED
    assert (ring.valid(NOW), ring.valid(NOW + timedelta(days=91))) == (1, 0)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert ring.find(wrong, NOW + timedelta(days=91)) is KeyFault.WRONG_SECRET  # who has no key learns nothing of it


def test_the_claimed_id_is_never_a_part_of_a_secret() -> None:
    key, text = make()
    assert claimed_id(text) == key.id
    assert claimed_id(text[:-1]) == claimed_id("hunter2") == "-"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, "\x1b[31m"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="such a key cannot be"):
        create_key(name, [AccessScope.SEARCH])


def test_a_lifetime_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(InputError, match="calendar"):
        create_key("x", [AccessScope.SEARCH], lifetime=timedelta(days=9_999_999))


def damaged() -> list[str]:
    key, _ = make()
    good = json.loads(KeysDocument(keys=(key,)).model_dump_json())
    one = good["keys"][0]
    changes = [
        {**good, "format": 2},
        {**good, "more": 1},
        {"keys": [one, one]},
        {"keys": [{**one, "scopes": []}]},
        {"keys": [{**one, "scopes": ["root"]}]},
        {"keys": [{**one, "sha256": "abc"}]},
        {"keys": [{**one, "expires_at": "2026-11-22T12:00:00"}]},
    ]
    return ["", "{", "[]", *(json.dumps(change) for change in changes)]


@pytest.mark.parametrize("text", damaged())
def test_a_damaged_document_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InputError, match="the file holds no keys") as caught:
        parse_keys(text, "the file")
    assert make()[0].sha256[:8] not in str(caught.value)
    assert "input_value" not in str(caught.value)


def add_some(file: Path, count: int) -> None:
    for number in range(count):
        add_key(file, create_key(f"key {number}", [AccessScope.SEARCH])[0])


def test_keys_come_and_go(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "keys.json"
    keys = [create_key(name, [AccessScope.SEARCH])[0] for name in ("a", "b", "c")]
    for key in keys:
        add_key(file, key)
    assert read_keys(file) == tuple(keys)
    assert remove_key(file, keys[1].id) == keys[1]
    assert read_keys(file) == (keys[0], keys[2])
    with pytest.raises(InputError, match="there is no key"):
        remove_key(file, keys[1].id)


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add_some(file, 1)
    file.chmod(0o644)
    add_some(file, 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.slow
def test_writers_at_once_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=add_some, args=(file, 10)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(read_keys(file)) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == [".keys.json.lock", "keys.json"]


def test_a_damaged_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text("{")
    with pytest.raises(InputError, match="holds no keys"):
        add_some(file, 1)
    assert file.read_text() == "{"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_keys(tmp_path / "keys.json")


def make_shop_key() -> tuple[ApiKey, str]:
    return create_key("shop", [AccessScope.SEARCH])


def opens(source: KeySource, text: str) -> bool:
    return not isinstance(source.ring.find(text, datetime.now(UTC)), KeyFault)


def watch(source: KeySource, *steps: tuple[Callable[[], object], Callable[[], bool]]) -> None:
    """Let the source run; do each step and wait for what must follow."""

    async def main() -> None:
        task = asyncio.create_task(source.run())
        for act, follows in steps:
            act()
            async with asyncio.timeout(10):
                while not follows():  # noqa: ASYNC110 - what is awaited has no event
                    await asyncio.sleep(0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "CHECK_SECONDS", 0.01)


def test_keys_come_and_go_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    (old, old_text), (new, new_text) = make_shop_key(), make_shop_key()
    add_key(file, old)
    source = KeySource(Access(keys_file=file), Metrics())
    assert (opens(source, old_text), opens(source, new_text)) == (True, False)
    watch(
        source,
        (lambda: add_key(file, new), lambda: opens(source, new_text) and opens(source, old_text)),
        (lambda: remove_key(file, old.id), lambda: opens(source, new_text) and not opens(source, old_text)),
    )


@pytest.mark.parametrize("damage", ["{", "", None])
def test_the_last_good_keys_outlive_a_bad_file(
    tmp_path: Path, damage: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.json"
    (old, old_text), (new, new_text) = make_shop_key(), make_shop_key()
    add_key(file, old)
    good = file.read_text()
    metrics = Metrics()
    source = KeySource(Access(keys_file=file), metrics)

    def readable(value: float) -> bool:
        return f"lookalike_keys_readable {value}".encode() in metrics.render()

    watch(
        source,
        (lambda: file.unlink() if damage is None else file.write_text(damage), lambda: readable(0.0)),
        (lambda: None, lambda: opens(source, old_text)),
        (lambda: file.write_text(good), lambda: readable(1.0)),
        (lambda: add_key(file, new), lambda: opens(source, new_text)),
    )
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1  # however often it was looked at
    assert "1 keys known before stay valid" in errors[0].getMessage()
    assert b"lookalike_keys 2.0" in metrics.render()


def test_the_first_expiry_is_that_of_a_valid_key() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    made = [
        create_key("shop", [AccessScope.SEARCH], lifetime=timedelta(days=days), now=now - timedelta(days=10))[0]
        for days in (1, 12, 30)
    ]
    assert KeyRing(made).next_expiry(now) == (now + timedelta(days=2)).timestamp()
    assert KeyRing([make_shop_key()[0]]).next_expiry(now) == float("inf")


def test_keys_from_the_environment(tmp_path: Path) -> None:
    (given, given_text), (filed, filed_text) = make_shop_key(), make_shop_key()
    file = tmp_path / "keys.json"
    add_key(file, filed)
    text = KeysDocument(keys=(given,)).model_dump_json()
    source = KeySource(Access(keys=text, keys_file=file), Metrics())
    assert opens(source, given_text)
    assert opens(source, filed_text)


@pytest.mark.parametrize("access", [{"keys": "nonsense"}, {"keys_file": "/nowhere/keys.json"}])
def test_no_start_without_the_keys(access: dict[str, str]) -> None:
    with pytest.raises(InputError):
        KeySource(Access.model_validate(access), Metrics())
