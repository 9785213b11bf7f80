from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from lookalike.data.errors import InputError
from lookalike.serving.access.keys import create_key
from lookalike.serving.access.keys_file import add_key, read_keys, remove_key
from lookalike.serving.context import AccessScope


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
