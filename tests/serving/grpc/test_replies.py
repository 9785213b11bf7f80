"""Values keep their types."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from lookalike.serving.grpc.replies import write_value


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        ("red", "string_value", "red"),
        (True, "bool_value", True),
        (2**53 + 1, "int_value", 2**53 + 1),
        (-(2**63), "int_value", -(2**63)),
        (2**64 - 1, "uint_value", 2**64 - 1),
        (2**64, "string_value", str(2**64)),
        (0.5, "double_value", 0.5),
        (Decimal("9.95"), "double_value", 9.95),
        (date(2026, 11, 5), "date_value", "2026-11-05"),
        (datetime(2026, 11, 5, 8, 30, tzinfo=UTC), "datetime_value", "2026-11-05T08:30:00+00:00"),
        (time(8, 30), "time_value", "08:30:00"),
        (b"\x00", "bytes_value", b"\x00"),
    ],
)
def test_a_value_has_its_type(value: Any, kind: str, written: Any) -> None:
    found = write_value(value)
    assert found.WhichOneof("kind") == kind
    assert getattr(found, kind) == written


@pytest.mark.parametrize("value", [None, math.nan, math.inf, Decimal("NaN")])
def test_no_value(value: Any) -> None:
    assert write_value(value).WhichOneof("kind") == "null_value"


def test_lists_and_maps() -> None:
    assert [one.int_value for one in write_value([1, 2]).list_value.values] == [1, 2]
    assert write_value([]).WhichOneof("kind") == "list_value"
    assert write_value({"a": None}).map_value.values["a"].WhichOneof("kind") == "null_value"
