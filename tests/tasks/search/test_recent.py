"""What was made for the last requests is kept up to a number of bytes."""

from __future__ import annotations

from functools import partial

from lookalike.tasks.search.recent import Recent


def test_the_last_used_values_are_kept_up_to_their_bytes() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    def get(key: str) -> str:
        return recent.get(key, partial(make, key), 40)

    recent: Recent[str] = Recent(100)
    assert [get(key) for key in "abab"] == ["A", "B", "A", "B"]
    assert made == ["a", "b"]
    get("a"), get("c"), get("a")
    assert made == ["a", "b", "c"]
    get("b")
    assert made == ["a", "b", "c", "b"]


def test_what_is_larger_than_all_is_made_each_time() -> None:
    recent: Recent[object] = Recent(100)
    small = recent.get("small", object, 100)
    assert recent.get("large", object, 101) is not recent.get("large", object, 101)
    assert recent.get("small", object, 100) is small
