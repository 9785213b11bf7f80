"""Types of text: prices, numbers and dates as shops write them; what can be read in two ways stays text."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.catalogue.findings import Findings, describe_attribute
from lookalike.data.errors import CatalogueError
from lookalike.data.reports import AttributeFinding
from tests.support.catalogues import attributes_of, read_all


def of_column(
    values: list[str], folder: Path, *, separator: str = ",", declared: str | None = None
) -> tuple[list[Any], AttributeFinding]:
    """Return what a column of CSV becomes, and what is said of it."""
    lines = [separator.join([str(row), "a.png", f'"{value}"']) for row, value in enumerate(values)]
    (folder / "shop.csv").write_text("\n".join([separator.join(["id", "image", "x"]), *lines]))
    findings = Findings()
    columns = None if declared is None else f"x:{declared}"
    read = read_all(str(folder / "shop.csv"), columns=columns, findings=findings)
    return [row["x"] for row in attributes_of(read)], findings.attributes["x"]


@pytest.mark.parametrize(
    ("written", "numbers", "how"),
    [
        (
            ["19.90 EUR", "9.90 EUR", "100.00 EUR", "1,249.00 EUR"],
            [19.9, 9.9, 100, 1249],
            "decimal point, currency EUR",
        ),
        (["€19.90", "€ 5", "-€3.50"], [19.9, 5, -3.5], "decimal point, currency EUR"),
        (["19,90 €", "1.249,00\u00a0€", "5,- €", ""], [19.9, 1249, 5, None], "decimal comma, currency EUR"),
        (["₹1,49,999.00", "₹500.00"], [149999, 500], "decimal point, currency ₹"),
        (["USD 5", "$7.25"], [5, 7.25], "decimal point, currency USD"),
        (["CHF 1'299.95", "CHF 19.-"], [1299.95, 19], "decimal point, currency CHF"),
        (["1 299,50 zł", "99 zł"], [1299.5, 99], "decimal comma, currency PLN"),
        (["9,90", "-1,5", "7"], [9.9, -1.5, 7], "decimal comma"),
        (["1.249,00", "9,90"], [1249, 9.9], "decimal comma"),
        (["1.249.000", "5"], [1249000, 5], "decimal comma"),
        (["1,249.50", "3"], [1249.5, 3], "decimal point"),
        (["1,249,000", "3"], [1249000, 3], "decimal point"),
        (["\u22125,50", "5,25"], [-5.5, 5.25], "decimal comma"),
        (["0,500", "0,250"], [0.5, 0.25], "decimal comma"),
        (["19 EUR", "20 EUR"], [19, 20], "decimal point, currency EUR"),
    ],
)
def test_numbers_as_people_write_them(written: list[str], numbers: list[float], how: str, tmp_path: Path) -> None:
    found, said = of_column(written, tmp_path)
    assert found == numbers
    assert (said.type, said.how, said.example) == ("number", how, written[0].replace("\u00a0", " "))


def test_a_type_is_found_however_late_its_first_value_comes(tmp_path: Path) -> None:
    numbers, said = of_column([*["5"] * 20_000, "9,90", "7 EUR"], tmp_path)
    assert (numbers[0], numbers[-2:], said.type) == (5.0, [9.9, 7.0], "number")


@pytest.mark.parametrize(
    ("written", "days"),
    [
        (["31.01.2026", "1.2.2026"], [dt.date(2026, 1, 31), dt.date(2026, 2, 1)]),
        (["31/01/2026", "01/02/2026"], [dt.date(2026, 1, 31), dt.date(2026, 2, 1)]),
        (["01/31/2026", "2/1/2026"], [dt.date(2026, 1, 31), dt.date(2026, 2, 1)]),
        (["31-01-2026", "01-02-2026"], [dt.date(2026, 1, 31), dt.date(2026, 2, 1)]),
        (["2026/01/31", "2026/2/1"], [dt.date(2026, 1, 31), dt.date(2026, 2, 1)]),
        (
            ["31.01.2026 9:30", "1.2.2026 14:05:30"],
            [dt.datetime(2026, 1, 31, 9, 30), dt.datetime(2026, 2, 1, 14, 5, 30)],
        ),
        (["12/31/2026, 09:30"], [dt.datetime(2026, 12, 31, 9, 30)]),
    ],
)
def test_dates_as_spreadsheets_write_them(written: list[str], days: list[dt.date], tmp_path: Path) -> None:
    assert of_column(written, tmp_path)[0] == days


@pytest.mark.parametrize(
    ("written", "separator", "how"),
    [
        (["1,234", "5,678"], ",", "thousands or decimals? Declare decimal_point or decimal_comma"),
        (["1.234 EUR", "5"], ",", "thousands or decimals? Declare decimal_point or decimal_comma"),
        (["1.234", "5.678"], ";", "thousands or decimals behind the point? Declare decimal_point or decimal_comma"),
        (["01/02/2026", "03/04/2026"], ",", "day or month first? Declare date_dmy or date_mdy"),
        (["5 EUR", "5 USD"], ",", "several currencies: EUR, USD"),
    ],
)
def test_what_can_be_read_in_two_ways_stays_text(written: list[str], separator: str, how: str, tmp_path: Path) -> None:
    found, said = of_column(written, tmp_path, separator=separator)
    assert (found, said.type, said.how) == (written, "string", how)


@pytest.mark.parametrize(
    "codes",
    [
        ["RAL 9010", "RAL 9016"], ["ISO 9001"], ["10 cm", "5 cm"], ["S", "M", "40"], ["1.2.3", "1.2"], ["31.02.2026"],
        ["040 123", "040 124"], ["12 345", "12 346"], ["1234-5678"], ["10,20,30"], ["1.23,4"], ["12.34.567"],
    ],
)  # fmt: skip
def test_codes_and_sizes_stay_text(codes: list[str], tmp_path: Path) -> None:
    assert of_column(codes, tmp_path)[0] == codes


def test_plain_text_has_nothing_that_does_not_fit(tmp_path: Path) -> None:
    for values in (["shoes", "hats"], ["shoes", *[""] * 20]):
        assert of_column(values, tmp_path)[1].misfit is None


def test_what_keeps_a_column_text_is_named(tmp_path: Path) -> None:
    values, said = of_column([*["19,90 €"] * 20, "on request"], tmp_path)
    assert values[0] == "19,90 €"
    assert describe_attribute("x", said) == (
        "'x' is string, from values such as '19,90 €'; it stays text for values such as 'on request'"
    )


@pytest.mark.parametrize(
    ("declared", "written", "values"),
    [
        ("decimal_comma", ["1,234", "1.234", "on request", ""], [1.234, 1234, None, None]),
        ("decimal_point", ["1,234", "1.234", "on request", ""], [1234, 1.234, None, None]),
        ("number", ["19,90", "on request", "5"], [19.9, None, 5]),
        ("number", ["19.90", "1e+05", "n/a"], [19.9, 1e5, None]),
        ("date_dmy", ["01/02/2026", "31.02.2026", "soon"], [dt.date(2026, 2, 1), None, None]),
        ("date_mdy", ["01/02/2026", "2026-03-04", "soon"], [dt.date(2026, 1, 2), None, None]),
        ("date_dmy", ["31.01.26", "1.2.26"], [dt.date(2026, 1, 31), dt.date(2026, 2, 1)]),
        ("date_dmy", ["31.01.2026 10:30"], [dt.datetime(2026, 1, 31, 10, 30)]),
        ("date", ["2026-01-31", "soon"], [dt.date(2026, 1, 31), None]),
        ("boolean", ["true", "perhaps"], [True, None]),
        ("text", ["7", "8"], ["7", "8"]),
    ],
)
def test_a_declared_type_holds_and_what_does_not_fit_is_counted(
    declared: str, written: list[str], values: list[Any], tmp_path: Path
) -> None:
    found, said = of_column(written, tmp_path, declared=declared)
    assert found == values
    assert said.misfits == sum(value is None and text != "" for text, value in zip(written, values, strict=True))
    assert said.how.startswith("declared")


def test_a_declaration_that_leaves_two_readings_asks_for_more(tmp_path: Path) -> None:
    for declared, written, advice in (
        ("number", ["1,234"], "declare decimal_point or decimal_comma instead of number"),
        ("date", ["01/02/2026"], "declare date_dmy or date_mdy instead of date"),
    ):
        with pytest.raises(CatalogueError, match=advice):
            of_column(written, tmp_path, declared=declared)


def test_prices_in_jsonl_are_numbers_where_no_program_writes_so(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "image": "a.png",
            "price": "19.90 EUR",
            "ean": "4006381333931",
            "code": "19.90",
            "sizes": ["5,5", "6"],
        },
        {"id": "2", "image": "a.png", "price": "9.90 EUR", "ean": "4006381333932", "code": "9.90", "sizes": ["7"]},
    ]
    (tmp_path / "shop.jsonl").write_text("\n".join(json.dumps({"id": 1, "image": "a", **row}) for row in rows))
    first, _ = attributes_of(read_all(str(tmp_path / "shop.jsonl")))
    assert first == {"price": 19.9, "ean": "4006381333931", "code": "19.90", "sizes": [5.5, 6.0]}
    first, _ = attributes_of(read_all(str(tmp_path / "shop.jsonl"), columns="code:number,cost=price:number"))
    assert (first["code"], first["cost"]) == (19.9, 19.9)
