"""Text of strangers: what a terminal would obey is written out, and all that people write stays."""

from __future__ import annotations

import json
import logging

import pytest

from lookalike.data.printable import escape_controls, escape_record


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nice \x1b]0;owned\x07", r"nice \u001b]0;owned\u0007"),
        ("\x9b2J", r"\u009b2J"),
        ("a\r\nERROR: b", r"a\r\nERROR: b"),
        ("user\u202e gpj.exe", r"user\u202e gpj.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert json.loads(f'"{escape_controls(text)}"') == text


@pytest.mark.parametrize("text", ["Größe 42\u00a0EUR", "سماعة", "👩\u200d👧", "1\u202f249,00", "a\\b", ""])
def test_what_people_write_stays(text: str) -> None:
    assert escape_controls(text) == text


def test_a_log_line_with_its_values() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s of %d:\n  it's 100 %%", ("\x1b[2J", 3), None)
    assert escape_record(record)
    assert record.getMessage() == "\\u001b[2J of 3:\n  it's 100 %"
