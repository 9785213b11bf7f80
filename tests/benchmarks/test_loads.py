from __future__ import annotations

from pathlib import Path

from tests.benchmarks.serving.load import LOST, OK, Reply
from tests.benchmarks.serving.loads import Load, Result


def test_what_warms_a_server_up_counts_only_for_what_the_server_used() -> None:
    """Its answers take the server's processor as all others do: left out, a query seemed to take half as much again."""
    first = [Reply(warms_up=True, due=number, seconds=9.0, status=OK) for number in range(2)]
    later = [Reply(due=2 + number, seconds=1.0, status=OK) for number in range(4)]
    result = Result.of(Load(Path(), seconds=2.0), [*first, *later, Reply(due=9, seconds=1.0, status=LOST)])
    assert result.served == 6
    assert result.statuses() == {OK: 4, LOST: 1}
    assert (result.rate(), result.percentiles()[2]) == (2.0, 1000.0)
