"""The last lines of a run, as a person reads them."""

from __future__ import annotations

import pytest

from lookalike.cli.report import describe_options, describe_report, format_seconds
from lookalike.data.reports import AttributeFinding
from tests.support.reports import run_report


def test_a_run_is_told_in_seven_lines() -> None:
    reasons = {"damaged": 4, "missing": 1, "too_small": 1, "unsupported_format": 1}
    report = run_report(message="published X with 1,501 products", reject_reasons=reasons, unseen=2)
    assert list(describe_report(report, " --store s3://shop")) == [
        "Published X with 1,501 products (channel 'current')",
        "  products  1,501 (12 came, 3 with another picture, 40 with another text, 5 went, 2 not looked at)",
        "  pictures  15 embedded, 1,481 reused, 7 rejected (4 damaged, 1 missing, 1 too_small, 1 more reasons)",
        "  index     recall@10 0.997, 0.25 ms a query, 12.0 MB",
        "  took      1 min 1 s",
        "  next      lookalike snapshots rejects --store s3://shop; lookalike serve --store s3://shop",
    ]


def test_of_a_run_that_did_nothing_only_why_is_told() -> None:
    report = run_report(state="skipped", message="channel 'current' is held")
    assert list(describe_report(report, "")) == ["Channel 'current' is held (channel 'current')"]


def test_values_that_are_left_out_are_told() -> None:
    price = AttributeFinding(type="number", how="decimal comma", example="9,90", misfits=3, misfit="on request")
    report = run_report(attributes={"price": price}, notes=["2 columns are left out"])
    notes = [line for line in describe_report(report, "") if line.startswith("  note")]
    assert notes == [
        "  note      3 values of 'price' are left out, such as 'on request': no number",
        "  note      2 columns are left out",
    ]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("published", "lookalike search PICTURE; lookalike serve"),
        ("unchanged", "lookalike search PICTURE; lookalike serve"),
        ("unpublished", "lookalike snapshots promote 20261123T030000Z-0a1b2c3d"),
        ("refused", "lookalike snapshots promote 20261123T030000Z-0a1b2c3d --force, if it is right"),
    ],
)
def test_what_comes_next(state: str, says: str) -> None:
    report = run_report(state=state, rejected=0, reject_reasons={})
    assert list(describe_report(report, ""))[-1] == f"  next      {says}"


def test_options_are_named_where_they_are_not_the_usual_ones() -> None:
    usual = ("./.lookalike", "./.lookalike")
    assert describe_options({"store": usual, "channel": ("current", "current")}) == ""
    given = {"store": ("my store", "./.lookalike"), "channel": ("summer", "current")}
    assert describe_options(given) == " --store 'my store' --channel summer"


@pytest.mark.parametrize(
    ("seconds", "says"), [(4.26, "4.3 s"), (59.9, "59.9 s"), (63.9, "1 min 3 s"), (3725, "62 min 5 s")]
)
def test_times(seconds: float, says: str) -> None:
    assert format_seconds(seconds) == says


def test_workers_that_died_are_told() -> None:
    report = run_report(workers_lost=2, partitions_retried=3)
    notes = [line for line in describe_report(report, "") if line.startswith("  note")]
    assert notes == [
        "  note      2 workers died or left, 3 parts of the work were tried again: their work was done once more"
    ]
