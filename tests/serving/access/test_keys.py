from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from lookalike.data.errors import InputError
from lookalike.serving.access.keys import ApiKey, KeyFault, KeyRing, KeysDocument, claimed_id, create_key, parse_keys
from lookalike.serving.context import AccessScope

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
