from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lookalike.data.errors import InputError
from lookalike.serving.access import key_source
from lookalike.serving.access.key_source import KeySource
from lookalike.serving.access.keys import ApiKey, KeyFault, KeysDocument, create_key
from lookalike.serving.access.keys_file import add_key, remove_key
from lookalike.serving.context import AccessScope
from lookalike.serving.settings import Access
from lookalike.serving.telemetry.metrics import Metrics


def make() -> tuple[ApiKey, str]:
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
    monkeypatch.setattr(key_source, "CHECK_SECONDS", 0.01)


def test_keys_come_and_go_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    (old, old_text), (new, new_text) = make(), make()
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
    (old, old_text), (new, new_text) = make(), make()
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


def test_keys_from_the_environment(tmp_path: Path) -> None:
    (given, given_text), (filed, filed_text) = make(), make()
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
