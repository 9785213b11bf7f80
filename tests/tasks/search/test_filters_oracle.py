"""Any conditions on any products, against a reading of them row by row in plain Python."""

from __future__ import annotations

import datetime as dt
import math
import operator
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lookalike.data.snapshots.products import Products
from lookalike.tasks.search.filters import Condition, match_products, parse

DAYS = [dt.date(2026, 1, 30), dt.date(2026, 1, 31), dt.date(2026, 2, 1)]
TIMES = [dt.time.min, dt.time(12, 30), dt.time.max]
KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "word": (pa.string(), ["", "a", "b", "ab", "B", "ä", "z", "日本", "a,b"]),
    "whole": (pa.int16(), list(range(-3, 4))),
    "broken": (pa.float64(), [-1.5, -0.0, 0.0, 0.1, 2.0, math.nan, math.inf]),
    "yes": (pa.bool_(), [True, False]),
    "day": (pa.date32(), DAYS),
    "moment": (pa.timestamp("us", "UTC"), [dt.datetime.combine(day, one, dt.UTC) for day in DAYS for one in TIMES]),
}
MORE: dict[str, list[str]] = {
    "whole": ["0.5", "-2.5", "1e99", "2.0"],
    "moment": [day.isoformat() for day in DAYS],
}
ROWS = 40
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


@lru_cache
def products(seed: int) -> tuple[dict[str, list[Any]], Products]:
    """Products with a value and with a list of values of each type, any of them missing, in 1 to 3 shards."""
    random = Random(seed)
    columns: dict[str, list[Any]] = {}
    arrays: dict[str, pa.Array] = {}
    for name, (kind, values) in KINDS.items():
        some = [None, *values]
        columns[name] = random.choices(some, k=ROWS)
        arrays[name] = pa.array(columns[name], kind)
        columns[f"{name}s"] = [
            None if random.random() < 0.2 else random.choices(some, k=random.randrange(4)) for _ in range(ROWS)
        ]
        arrays[f"{name}s"] = pa.array(columns[f"{name}s"], pa.list_(kind))
    attributes = pa.StructArray.from_arrays(list(arrays.values()), names=list(arrays))
    table = pa.table({"id": [str(row) for row in range(ROWS)], "attributes": attributes})
    edges = [0, *sorted(random.sample(range(1, ROWS), seed % 3)), ROWS]
    return columns, Products.of(*(table.slice(start, stop - start) for start, stop in pairwise(edges)))


def conditions(name: str) -> st.SearchStrategy[Condition]:
    """Any condition on an attribute that makes sense, its values as a person would write them."""
    texts = [written(value) for value in KINDS[name][1] if not missing(value)]
    values = st.sampled_from(texts + MORE.get(name, []))
    orders = ["=", "!="] if name == "yes" else ["=", "!=", "<", "<=", ">", ">="]
    names = st.sampled_from([name, f"{name}s"])
    return st.one_of(
        st.builds(Condition, names, st.sampled_from(orders), st.tuples(values)),
        st.builds(Condition, names, st.sampled_from(["in", "not in"]), st.lists(values, min_size=1).map(tuple)),
        st.builds(Condition, names, st.sampled_from(["is null", "is not null"])),
    )


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def holds(condition: Condition, value: Any) -> bool:
    items = [item for item in (value if isinstance(value, list) else [value]) if not missing(item)]
    match condition.operator:
        case "is null":
            return not items
        case "is not null":
            return bool(items)
        case "!=" | "not in":
            return not any(compares("=", item, text) for item in items for text in condition.values)
        case "in":
            return any(compares("=", item, text) for item in items for text in condition.values)
    return any(compares(condition.operator, item, condition.values[0]) for item in items)


def compares(order: str, item: Any, text: str) -> bool:
    compare = ORDERS[order]
    if isinstance(item, bool):
        return compare(item, text == "true")
    if isinstance(item, str):
        return compare(item.encode(), text.encode())
    if isinstance(item, dt.datetime):
        if len(text) > len("2026-01-31"):
            return compare(item, dt.datetime.fromisoformat(text))
        return compare(item.date(), dt.date.fromisoformat(text))
    if isinstance(item, dt.date):
        return compare(item, dt.date.fromisoformat(text))
    return compare(item, float(text))


CONDITIONS = st.one_of([conditions(name) for name in sorted(KINDS)])


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 20), st.lists(CONDITIONS, max_size=3))
def test_a_row_is_found_where_all_conditions_hold(seed: int, asked: list[Condition]) -> None:
    columns, opened = products(seed)
    expected = [all(holds(condition, columns[condition.name][row]) for condition in asked) for row in range(ROWS)]
    assert match_products(opened, asked).tolist() == expected


def in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


LETTERS = st.text('ab "=<>!,\t\n') | st.text()
HAN = "\ufa2a"  # NFC makes it another character, U+98EF
LISTS = st.lists(LETTERS, min_size=1, max_size=3).map(tuple)


@example(HAN, "in", (HAN,))
@given(LETTERS, st.sampled_from(["in", "not in"]), LISTS)
def test_a_name_and_values_in_quotes_are_read_as_they_are(name: str, operator: str, values: tuple[str, ...]) -> None:
    """But names are read as catalogues have them: in NFC."""
    text = f"{in_quotes(name)} {operator} {','.join(map(in_quotes, values))}"
    kept = unicodedata.normalize("NFC", name)
    assert parse(text) == Condition(kept, operator, values)
    assert parse(f"{in_quotes(name)} is null") == Condition(kept, "is null")
    assert parse(f"{in_quotes(name)}={values[0]}") == Condition(kept, "=", (values[0].strip(),))
