"""Filters against plain Python, on every type of attribute."""

from __future__ import annotations

import datetime as dt
import time
import tracemalloc
from contextlib import suppress
from decimal import Decimal

import pyarrow as pa
import pytest

from lookalike.data.errors import FilterError
from lookalike.data.snapshots.products import Products
from lookalike.tasks.search.filters import Condition, match_products, parse

ROWS: list[dict[str, object]] = [
    {"category": "shoes", "price": 49.9, "stock": 3, "new": True, "tags": ["a", "b"], "since": dt.date(2026, 1, 1)},
    {"category": "shoes", "price": 120.0, "stock": 0, "new": False, "tags": [], "since": dt.date(2026, 6, 1)},
    {"category": "hats, caps", "price": 15.0, "stock": 9, "new": None, "tags": ["b"], "since": None},
    {"category": None, "price": None, "stock": None, "new": True, "tags": None, "since": dt.date(2025, 1, 1)},
]


@pytest.fixture(scope="module")
def products() -> Products:
    schema = pa.struct(
        [
            ("category", pa.string()),
            ("price", pa.float64()),
            ("stock", pa.int64()),
            ("new", pa.bool_()),
            ("tags", pa.list_(pa.string())),
            ("since", pa.date32()),
        ]
    )
    count = len(ROWS)
    return Products.of(
        pa.table(
            {
                "id": [str(i) for i in range(count)],
                "title": [""] * count,
                "image": [""] * count,
                "image_version": [""] * count,
                "image_hash": pa.array([bytes(32)] * count, pa.binary(32)),
                "attributes": pa.array(ROWS, schema),
            }
        )
    )


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (["category=shoes"], [0, 1]),
        (["category!=shoes"], [2, 3]),
        (["category in shoes,boots"], [0, 1]),
        (["category=hats, caps"], [2]),
        (["price<=49.9"], [0, 2]),
        (["price>49.9"], [1]),
        (["price < 120", "category=shoes"], [0]),
        (["stock>=3"], [0, 2]),
        (["stock<=2.5"], [1]),
        (["stock in 0,9"], [1, 2]),
        (["new=true"], [0, 3]),
        (["new!=true"], [1, 2]),
        (["tags=b"], [0, 2]),
        (["tags!=b"], [1, 3]),
        (["tags in a,c"], [0]),
        (["since>=2026-01-01"], [0, 1]),
        (["since=2025-01-01"], [3]),
        (["category=shoes", "category=hats"], []),
        (["category is null"], [3]),
        (["category IS NOT NULL"], [0, 1, 2]),
        (["category not in shoes"], [2, 3]),
        (['category in "hats, caps",boots'], [2]),
        (["category>=i"], [0, 1]),
        (["category<shoes"], [2]),
        (["price is null"], [3]),
        (["price>=-1e400"], [0, 1, 2]),
        (["stock>2.5", "stock<1e30"], [0, 2]),
        (["stock=2.5"], []),
        (["stock!=2.5"], [0, 1, 2, 3]),
        (["stock not in 0,9,1,2,4,5"], [0, 3]),
        (["stock in 0,9,1,2,4,99999999999999999999"], [1, 2]),
        (["new is null"], [2]),
        (["new in true,false"], [0, 1, 3]),
        (["tags is null"], [1, 3]),
        (["tags not in a,c"], [1, 2, 3]),
        (["tags>=b"], [0, 2]),
        (["since is null"], [2]),
        (["since<2026-01-01"], [3]),
        (["since in 2026-01-01,2025-01-01"], [0, 3]),
        ([], [0, 1, 2, 3]),
    ],
)
def test_selects_the_rows_that_satisfy_all_conditions(products: Products, filters: list[str], rows: list[int]) -> None:
    assert match_products(products, [parse(text) for text in filters]).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("a=b=c", Condition("a", "=", ("b=c",))),
        ("  a  <=  3 ", Condition("a", "<=", ("3",))),
        ("a IN x, y", Condition("a", "in", ("x", "y"))),
        ("a=", Condition("a", "=", ("",))),
        ("a=x is null", Condition("a", "=", ("x is null",))),
        ("a in x=1", Condition("a", "in", ("x=1",))),
        ("in stock is null", Condition("in stock", "is null")),
        ("a  Not  In x", Condition("a", "not in", ("x",))),
        ("a is  not null", Condition("a", "is not null")),
        ('a in "x, ""y""" , 5" , z', Condition("a", "in", ('x, "y"', '5"', "z"))),
        ('a in "",', Condition("a", "in", ("", ""))),
        ('a="x"', Condition("a", "=", ('"x"',))),
        ("a is null=3", Condition("a is null", "=", ("3",))),
        ("Größe cm>=4", Condition("Größe cm", ">=", ("4",))),
        ('"made in eu"=true', Condition("made in eu", "=", ("true",))),
        (' "size<=m"  >=  4 ', Condition("size<=m", ">=", ("4",))),
        ('"a=b" not in "x, y",z', Condition("a=b", "not in", ("x, y", "z"))),
        ('" a "  is null', Condition(" a ", "is null")),
        ('"12"" is null" is not null', Condition('12" is null', "is not null")),
        ('"""a"""=b', Condition('"a"', "=", ("b",))),
        ('""=b', Condition("", "=", ("b",))),
        ('"a"=" b"', Condition("a", "=", ('" b"',))),
        ('12"=a', Condition('12"', "=", ("a",))),
    ],
)
def test_reads_conditions(text: str, condition: Condition) -> None:
    assert parse(text) == condition


@pytest.mark.parametrize(
    "text", ["", " ", "shoes", "=shoes", "category", "category ~ shoes", "is null", "a is nul", '"a"', '"a" b=1']
)
def test_says_how_to_write_a_filter(text: str) -> None:
    with pytest.raises(FilterError, match="category=shoes"):
        parse(text)


def test_names_the_attributes_there_are(products: Products) -> None:
    with pytest.raises(FilterError, match=r"no attribute 'colour'.*category, new, price"):
        match_products(products, [parse("colour=red")])


@pytest.mark.parametrize(
    "text",
    [
        *("price=cheap", "price=nan", "stock<few", "stock=nan", "stock in 1,x", "stock=1e99999999999999999999"),
        *("new=maybe", "since>soon", "since=2026-02-31", "since=2026-01-01T10:00"),
    ],
)
def test_refuses_a_value_of_the_wrong_type(products: Products, text: str) -> None:
    with pytest.raises(FilterError, match="cannot be compared"):
        match_products(products, [parse(text)])


def test_booleans_have_no_order(products: Products) -> None:
    with pytest.raises(FilterError, match="true or false"):
        match_products(products, [parse("new>false")])


@pytest.mark.parametrize("text", ['a in "x', 'a in "x"y', 'a in x,"y', '"a=b', '"a""=b'])
def test_a_quote_must_end(text: str) -> None:
    with pytest.raises(FilterError, match="a quote that does not end"):
        parse(text)


@pytest.mark.parametrize(
    "text", [" " * 4096, "not " * 1000 + "in", "a in " + " ," * 2000, 'a in "' + '"' * 4000, "is  " * 1000, '"' * 4095]
)
def test_no_text_takes_long_to_read(text: str) -> None:
    started = time.process_time()
    with suppress(FilterError):
        parse(text)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("text", ["n=1e999999999", "n<-1e999999999", "n>=1e-999999999", "n<inf"])
def test_no_number_takes_long_to_read(text: str) -> None:
    started = time.process_time()
    match_products(one_column(pa.array([1, 2])), [parse(text)])
    assert time.process_time() - started < 0.5


def one_column(values: pa.Array) -> Products:
    names = pa.array([str(row) for row in range(len(values))])
    return Products.of(pa.table({"id": names, "attributes": pa.StructArray.from_arrays([values], names=["n"])}))


def rows(values: pa.Array, *filters: str) -> list[int]:
    found: list[int] = match_products(one_column(values), [parse(text) for text in filters]).nonzero()[0].tolist()
    return found


MOMENTS = ["2026-01-30T23:59:59.999999", "2026-01-31T00:00:00", "2026-01-31T23:59:59.999999", "2026-02-01T00:00:00"]


@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n=2026-01-31", [1, 2]),
        ("n!=2026-01-31", [0, 3, 4]),
        ("n<2026-01-31", [0]),
        ("n<=2026-01-31", [0, 1, 2]),
        ("n>2026-01-31", [3]),
        ("n>=2026-01-31", [1, 2, 3]),
        ("n in 2026-01-30,2026-02-01", [0, 3]),
        ("n=2026-01-31T00:00", [1]),
        ("n=2026-01-31T01:00+01:00", [1]),
        ("n=2026-01-31 00:00:00Z", [1]),
        ("n>2026-01-31T00:00:00", [2, 3]),
        ("n is null", [4]),
        ("n<=9999-12-31", [0, 1, 2, 3]),
        ("n>=0001-01-01", [0, 1, 2, 3]),
    ],
)
def test_a_day_is_all_of_it_and_times_without_a_zone_are_utc(text: str, expected: list[int], zone: str | None) -> None:
    moments = [dt.datetime.fromisoformat(moment) for moment in MOMENTS]
    assert rows(pa.array([*moments, None], pa.timestamp("us", zone)), text) == expected


@pytest.mark.parametrize("apart", [1, 2, 9])
def test_many_days_hold_where_one_of_them_does(apart: int) -> None:
    first = dt.datetime(2025, 12, 25)
    moments = [first + dt.timedelta(hours=hours / 4) for hours in range(9_000)]
    moments += [moment + dt.timedelta.resolution * sign for moment in moments[::96] for sign in (-1, 1)]
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=apart * number) for number in range(40)]
    asked = [*reversed(days), *days[3:7], "2026-01-01T12:00", "2025-12-31T10:00"]  # some twice, or within another
    column = pa.array([*moments, None], pa.timestamp("us"))
    found = {row for row, moment in enumerate(moments) if moment.date() in days}
    ten = moments.index(dt.datetime(2025, 12, 31, 10))
    assert set(rows(column, f"n in {','.join(map(str, asked))}")) == found | {ten}
    assert set(rows(column, f"n not in {','.join(map(str, asked))}")) == set(range(len(column))) - found - {ten}


def test_a_thousand_days_take_little_memory() -> None:
    products = one_column(pa.array(range(0, 10**17, 10**12), pa.timestamp("us")))
    days = tuple(str(dt.date(2000, 1, 1) + dt.timedelta(days=2 * number)) for number in range(1000))
    tracemalloc.start()
    try:
        found = match_products(products, [Condition("n", "in", days)])
        assert tracemalloc.get_traced_memory()[1] < 50 * products.rows
    finally:
        tracemalloc.stop()
    assert found.sum() == 86  # every second of 2,000 days, where there is a value each 11.6 days


def test_a_float_of_32_bits_equals_what_was_written() -> None:
    column = pa.array([49.9, 50.0, float("nan"), float("inf"), None], pa.float32())
    assert rows(column, "n=49.9") == [0]
    assert rows(column, "n<=49.9") == [0]
    assert rows(column, "n>49.9") == [1, 3]
    assert rows(column, "n is null") == [2, 4]
    assert rows(column, "n<1e300") == [0, 1]


def test_the_ends_of_whole_numbers() -> None:
    large = pa.array([2**64 - 1, 2**63, 0], pa.uint64())
    assert rows(large, f"n={2**64 - 1}") == [0]
    assert rows(large, f"n>={2**63}", f"n<{2**64 - 1}") == [1]
    assert rows(large, "n>-1") == [0, 1, 2]
    small = pa.array([-128, 127], pa.int8())
    assert rows(small, "n<1000") == [0, 1]
    assert rows(small, "n=1000") == []
    exact = pa.array([2**53, 2**53 + 1])
    assert rows(exact, f"n>{2**53}") == [1]


def test_decimals_and_times_of_day() -> None:
    prices = pa.array([Decimal("49.90"), Decimal("50.00"), None], pa.decimal128(10, 2))
    assert rows(prices, "n<=49.9") == [0]
    assert rows(prices, "n<49.999") == [0]
    assert rows(prices, "n in 50,1") == [1]
    opens = pa.array([dt.time(9), dt.time(18, 30), None], pa.time64("us"))
    assert rows(opens, "n>=10:00") == [1]
    assert rows(opens, "n=09:00:00") == [0]


@pytest.mark.parametrize("kind", [pa.decimal128(10, 2), pa.decimal256(40, 4)])
def test_each_price_of_two_digits_is_found_by_what_is_written(kind: pa.DataType) -> None:
    prices = [Decimal(cents).scaleb(-2) for cents in range(-1_000, 10_000)]
    for column in (pa.array(prices, kind), pa.array([[price] for price in prices], pa.list_(kind))):
        assert one_column(column).columns["n"].parts[0].values.tolist() == [float(price) for price in prices]
        assert rows(column, "n=19.99") == [prices.index(Decimal("19.99"))]
        assert rows(column, "n>=0.35", "n<=0.35") == [prices.index(Decimal("0.35"))]


def test_lists_of_dates_numbers_and_booleans() -> None:
    days = pa.array([[dt.date(2026, 1, 1), dt.date(2026, 6, 1)], [], None, [None]], pa.list_(pa.date32()))
    assert rows(days, "n<2026-02-01") == [0]
    assert rows(days, "n>2026-02-01") == [0]
    assert rows(days, "n=2026-02-01") == []
    assert rows(days, "n is null") == [1, 2, 3]
    sizes = pa.array([[36, 37], [38], None])
    assert rows(sizes, "n in 37,38.0") == [0, 1]
    assert rows(sizes, "n!=37") == [1, 2]
    assert rows(pa.array([[True], [False, True]]), "n=false") == [1]


def test_text_is_compared_as_it_is_written() -> None:
    words = pa.array(["Größe", "große", "groß", "日本", "", " x ", 'a "b"', None])
    assert rows(words, "n=Größe") == [0]
    assert rows(words, "n>=日") == [3]
    assert rows(words, "n=") == [4]
    assert rows(words, 'n in " x ","a ""b"""') == [5, 6]
    assert rows(words, "n is null") == [7]
    assert rows(pa.array([None, None], pa.string()), "n in a,b,c,d,e") == []
    with pytest.raises(FilterError, match="half a character"):
        match_products(one_column(words), [Condition("n", "=", ("\ud800",))])


def of_text(*values: str) -> Products:
    """Return products with one attribute of text, `x`."""
    count = len(values)
    table = pa.table({name: [str(row) for row in range(count)] for name in ("id", "title", "image", "image_version")})
    attributes = pa.StructArray.from_arrays([pa.array(values, pa.string())], ["x"])
    return Products.of(table.append_column("attributes", attributes))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["19.90 EUR", "9.90 EUR", "on request"], "x<=50"),
        (["19,90", "1.249,00"], "x>49,90"),
        (["31.01.2026", "soon"], "x>=2026-01-31"),
        (["S", "M", "40"], "x>=38"),
        (["10 cm", "5 cm"], "x<7"),
        (["€5", "$6"], "x<50 EUR"),
        (["7", "12"], "x<9"),
        (["31 Jan 2026", "1. Feb. 2026"], "x>=2026-01-31"),
        (["(5.00)", "7.00"], "x>6"),
    ],
)
def test_a_range_of_numbers_asked_of_text_is_refused(values: list[str], text: str) -> None:
    with pytest.raises(FilterError, match=r"'x' is text, so .* would compare letters: .* --columns 'x:decimal_comma'"):
        match_products(of_text(*values), [parse(text)])
    assert match_products(of_text(*values), [parse(f"x={values[0]}")]).sum() == 1


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        (["apple", "pear"], "x>=b", [False, True]),
        (["007", "042", "123"], "x<=042", [True, True, False]),
        (["A100", "B200"], "x>=B", [False, True]),
        (["red", "blue"], "x>5", [True, True]),
        (["100A", "99B"], "x>=100A", [True, True]),
    ],
)
def test_a_range_of_words_and_codes_is_what_it_was(values: list[str], text: str, expected: list[bool]) -> None:
    assert match_products(of_text(*values), [parse(text)]).tolist() == expected


def test_accents_are_compared_however_they_are_typed() -> None:
    assert match_products(of_text("Gr\u00fcn", "rot"), [parse("x=Gru\u0308n")]).tolist() == [True, False]
