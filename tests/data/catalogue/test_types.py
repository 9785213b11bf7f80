"""Attributes: the same values, however a catalogue writes them, become the same columns and the same JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.reader import read_catalogue
from lookalike.data.catalogue.text_types import TextTypes
from lookalike.data.catalogue.types import type_name
from lookalike.data.embeddings import HASH
from lookalike.data.snapshots.mapped.shard_products import write_columns
from lookalike.data.snapshots.products import Products
from lookalike.serving.replies import to_json_value
from lookalike.tasks.search.filters import match_products, parse
from tests.support.catalogues import read_all

MORNING = dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)
NEXT = MORNING + dt.timedelta(days=1)
ROWS: list[dict[str, Any]] = [
    {"name": "Größe, 5\"", "day": dt.date(2026, 1, 31), "at": MORNING, "price": 49.9, "stock": 3, "new": True},
    {"name": "plain", "day": dt.date(2026, 2, 1), "at": NEXT, "price": 5.0, "stock": 0, "new": False},
    {"name": None, "day": None, "at": None, "price": None, "stock": None, "new": None},
]  # fmt: skip


def as_csv(folder: Path) -> str:
    lines = [
        "id,image,name,day,at,price,stock,new",
        '0,a.png,"Größe, 5""",2026-01-31,2026-01-31T09:30:00Z,49.9,3,true',
        "1,b.png,plain,2026-02-01,2026-02-01 10:30+01:00,5.0,0,false",
        "2,c.png,,,,,,",
    ]
    (folder / "shop.csv").write_text("\n".join(lines))
    return str(folder / "shop.csv")


def as_jsonl(folder: Path) -> str:
    rows = [
        {
            "id": number,
            "image": "a.png",
            **{name: value.isoformat() if isinstance(value, dt.date) else value for name, value in row.items()},
            "days": [row["day"].isoformat()] if row["day"] else [],
        }
        for number, row in enumerate(ROWS)
    ]
    (folder / "shop.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder / "shop.jsonl")


def as_parquet(folder: Path) -> str:
    rows = [{"id": str(number), "image": "a.png", **row} for number, row in enumerate(ROWS)]
    table = pa.Table.from_pylist(rows)
    for name, kind in {
        "at": pa.timestamp("ns", "Europe/Berlin"),
        "day": pa.date64(),
        "name": pa.dictionary(pa.int32(), pa.large_string()),
        "price": pa.decimal128(10, 2),
    }.items():
        values = table[name].combine_chunks()
        column = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, folder / "shop.parquet")
    return str(folder / "shop.parquet")


def stored(uri: str, folder: Path) -> Products:
    """Return a catalogue's products as a snapshot's Parquet gives them back."""
    products = read_all(uri).products
    hashes = pa.array([bytes(32)] * products.num_rows, HASH)
    pq.write_table(products.append_column("image_hash", hashes), folder / "products.parquet", compression="zstd")
    write_columns(folder / "products.parquet", folder / "columns")
    return Products.open([folder / "columns"])


@pytest.mark.parametrize("write", [as_csv, as_jsonl, as_parquet])
def test_every_form_of_a_catalogue_can_be_filtered_alike(write: Callable[[Path], str], tmp_path: Path) -> None:
    products = stored(write(tmp_path), tmp_path)
    names = {name: type_name(kind) for name, kind in products.attributes.items() if name != "days"}
    assert names == {
        "name": "string", "day": "date", "at": "timestamp", "price": "number", "stock": "integer", "new": "boolean",
    }  # fmt: skip
    for text, expected in {
        "day>=2026-02-01": [1],
        "at=2026-01-31": [0],
        "at<=2026-01-31T10:30+01:00": [0],
        "at>2026-01-31T09:30Z": [1],
        "price<=49.9": [0, 1],
        "price>49.89": [0],
        "stock in 0,7": [1],
        "new!=true": [1, 2],
        'name in "Größe, 5""",x': [0],
        "name>=p": [1],
        **{f"{name} is null": [2] for name in ROWS[0]},
    }.items():
        assert match_products(products, [parse(text)]).nonzero()[0].tolist() == expected, text
    first, _, last = (
        {name: to_json_value(value) for name, value in one.attributes.items() if name != "days"}
        for one in products.take([0, 1, 2])
    )
    assert first == {
        "name": 'Größe, 5"', "day": "2026-01-31", "at": "2026-01-31T09:30:00+00:00", "price": 49.9, "stock": 3,
        "new": True,
    }  # fmt: skip
    assert set(last.values()) == {None}


def test_lists_of_dates_in_jsonl(tmp_path: Path) -> None:
    products = stored(as_jsonl(tmp_path), tmp_path)
    assert products.attributes["days"] == pa.list_(pa.date32())
    assert match_products(products, [parse("days<=2026-01-31")]).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2026-01-31", None], pa.date32()),
        (["2026-01-31T10:00", "2026-01-31 10:00:00.5"], pa.timestamp("us")),
        (["2026-01-31T10:00Z", "2026-01-31T10:00:00+0200"], pa.timestamp("us", "UTC")),
        (["2026-01-31T10:00Z", "2026-01-31T10:00"], pa.string()),
        (["2026-01-31", "2026-01-31T10:00"], pa.string()),
        (["2026-01-31", "2026-02-31"], pa.string()),
        (["2026-01-31", ""], pa.string()),
        (["2026-01-31", 5], pa.string()),
        (["2026-01-31", ["2026-01-31"]], pa.string()),
        ([5, *[6] * 8191, "2026-01-31"], pa.string()),
        ([["2026-01-31"], *[[]] * 8191, None, ["2026-02-01"]], pa.list_(pa.date32())),
        ([["2026-01-31"], *[[]] * 8191, "2026-02-01"], pa.string()),
        (["7", "8"], pa.string()),
        (["true"], pa.string()),
    ],
)
def test_text_in_jsonl_is_a_date_where_all_of_it_is(values: list[Any], kind: pa.DataType, tmp_path: Path) -> None:
    lines = [json.dumps({"id": str(row), "image": "a.png", "x": value}) for row, value in enumerate(values)]
    (tmp_path / "shop.jsonl").write_text("\n".join(lines))
    products = read_all(str(tmp_path / "shop.jsonl")).products
    assert products["attributes"].type.field("x").type == kind
    assert products.num_rows == len(values)


@pytest.mark.parametrize(
    "codes",
    [
        ["12345678901234567890", "12345678901234567891"],
        ["1234567890123456789"],
        ["+4915112345678"],
        ["1e5", "12e3"],
        ["12e-3"],
        ["1E400", "2"],
        ["1.5e400", "2"],
        ["0012345", "12345"],
        ["00.5", "0.5"],
        ["1.", "2."],
        ["123456789012345678", "0.5"],
        ["0.10000000000000001", "0.1"],
        ["12345678901234567.00"],
        ["nan", "1.5"],
    ],
)
def test_codes_in_csv_stay_text_and_keep_all_their_digits(codes: list[str], tmp_path: Path) -> None:
    assert of_csv(codes, tmp_path).to_pylist() == codes


@pytest.mark.parametrize(
    ("written", "numbers", "kind"),
    [
        (["49.90", "5", "-0.5", ".25"], [49.9, 5.0, -0.5, 0.25], pa.float64()),
        (["0.30000000000000004", "59.38099999999999"], [0.30000000000000004, 59.38099999999999], pa.float64()),
        (["1.5e-3", "2.0E10", "1e-05", "-1e+15"], [0.0015, 2e10, 1e-05, -1e15], pa.float64()),
        (["123456789012345678", "-7", "0"], [123456789012345678, -7, 0], pa.int64()),
        (["1.000000000000000000", "0.00000000000000000000"], [1.0, 0.0], pa.float64()),
    ],
)
def test_numbers_in_csv_are_what_people_and_programs_write(
    written: list[str], numbers: list[float], kind: pa.DataType, tmp_path: Path
) -> None:
    found = of_csv(written, tmp_path)
    assert (found.type, found.to_pylist()) == (kind, numbers)


def of_csv(values: list[str], folder: Path) -> pa.Array:
    """Return the attribute that a column of CSV becomes."""
    lines = [f"{row},a.png,{value}" for row, value in enumerate(values)]
    (folder / "shop.csv").write_text("\n".join(["id,image,x", *lines]))
    return pc.struct_field(read_all(str(folder / "shop.csv")).products["attributes"].combine_chunks(), "x")


@pytest.mark.parametrize(
    ("column", "kind", "first"),
    [
        (pa.array([1, None], pa.timestamp("ns")), pa.timestamp("us"), dt.datetime(1970, 1, 1)),
        (pa.array([1, None], pa.timestamp("s", "Asia/Tokyo")), pa.timestamp("us", "UTC"), None),
        (pa.array([Decimal("1.50")], pa.decimal256(50, 2)), pa.decimal256(50, 2), Decimal("1.50")),
        (pa.array([[1, 2]], pa.list_(pa.int32(), 2)), pa.list_(pa.int32()), [1, 2]),
        (pa.array([["a"]], pa.large_list(pa.large_string())), pa.list_(pa.string()), ["a"]),
        (pa.ListArray.from_arrays([0, 1], pa.array(["a"]).dictionary_encode()), pa.list_(pa.string()), ["a"]),
        (pa.array([36_000], pa.time32("s")), pa.time64("us"), dt.time(10)),
        (pa.array([1.5], pa.float16()), pa.float32(), 1.5),
        (pa.array([None]), pa.string(), None),
    ],
)
def test_types_of_parquet_are_brought_to_one_form(
    column: pa.Array, kind: pa.DataType, first: Any, tmp_path: Path
) -> None:
    rows = len(column)
    table = pa.table({"id": [str(row) for row in range(rows)], "image": ["a.png"] * rows, "x": column})
    pq.write_table(table, tmp_path / "shop.parquet")
    products = stored(str(tmp_path / "shop.parquet"), tmp_path)
    assert products.attributes["x"] == kind
    value = products.take([0])[0].attributes["x"]
    assert first is None or value == first
    json.dumps(to_json_value(value))


BEFORE, FIRST, LAST, AFTER = (days * 86_400 for days in (-719_163, -719_162, 2_932_896, 2_932_897))  # since 1970


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([-719_163, -719_162, 2_932_896, 2_932_897, None], pa.date32()), [dt.date.min, dt.date.max]),
        (pa.array([day * 1000 for day in (BEFORE, FIRST, LAST, AFTER)], pa.date64()), [dt.date.min, dt.date.max]),
        (pa.array([FIRST - 1, FIRST, AFTER - 1, AFTER, 2**50, -(2**50)], pa.timestamp("s")),
         [dt.datetime.min, dt.datetime.max.replace(microsecond=0)]),
        (pa.array([FIRST * 10**6 - 1, FIRST * 10**6, AFTER * 10**6 - 1, AFTER * 10**6], pa.timestamp("us", "Japan")),
         [dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)]),
        (pa.array([AFTER * 1000, 0], pa.timestamp("ms")).dictionary_encode(), [dt.datetime(1970, 1, 1)]),
        (pa.array([2**63 - 1, None], pa.timestamp("ns")), [dt.datetime(2262, 4, 11, 23, 47, 16, 854775)]),
    ],
)  # fmt: skip
def test_days_in_no_year_from_1_to_9999_are_missing_values(
    column: pa.Array, expected: list[dt.date], tmp_path: Path
) -> None:
    assert [value for value in of_parquet(column, tmp_path).to_pylist() if value is not None] == expected


def test_the_year_0_in_csv_is_a_missing_value(tmp_path: Path) -> None:
    assert of_csv(["0000-01-01", "0001-01-01"], tmp_path).to_pylist() == [None, dt.date.min]
    assert of_csv(["9999-12-31T23:59:59-05:00"], tmp_path).null_count == 1


@pytest.mark.parametrize("kind", [pa.list_(pa.date32()), pa.large_list(pa.date64()), pa.list_(pa.timestamp("s"), 2)])
def test_lists_keep_the_days_that_there_are(kind: pa.DataType, tmp_path: Path) -> None:
    last = {"date32[day]": LAST // 86_400, "date64[ms]": LAST * 1000}.get(str(kind.value_type), LAST)
    lists = pa.array([None, [last, 2 * last], None, [2 * last, None], [0, last]], kind)
    found = of_parquet(lists, tmp_path).to_pylist()
    assert [value and [day and day.year for day in value] for value in found] == [
        None, [9999, None], None, [None, None], [1970, 9999],
    ]  # fmt: skip


def of_parquet(column: pa.Array, folder: Path) -> pa.Array:
    """Return the attribute that a column of Parquet becomes."""
    rows = len(column)
    table = pa.table({"id": [str(row) for row in range(rows)], "image": ["a.png"] * rows, "x": column})
    pq.write_table(table, folder / "shop.parquet")
    return pc.struct_field(read_all(str(folder / "shop.parquet")).products["attributes"].combine_chunks(), "x")


@pytest.mark.parametrize(
    "column",
    [pa.array([b"x"]), pa.array([{"a": 1}]), pa.array([[["a"]]]), pa.array([1], pa.duration("s"))],
)
def test_a_column_that_no_filter_understands_is_left_out(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"], "image": ["a.png"], "x": column}), tmp_path / "shop.parquet")
    findings = Findings()
    (batch,) = read_catalogue(str(tmp_path / "shop.parquet"), findings=findings)
    assert "attributes" not in batch.products.column_names
    assert findings.notes[0].startswith("the column 'x' is left out: no filter understands its type")


def test_nothing_is_found_where_nothing_was_looked_at() -> None:
    assert TextTypes().found("x") is None
