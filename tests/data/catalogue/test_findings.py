"""Findings: what people hear of a catalogue is short, and names what matters."""

from __future__ import annotations

from lookalike.data.catalogue.findings import MOST_NOTES, Findings, describe_attributes
from lookalike.data.reports import AttributeFinding


def test_what_is_seen_often_is_counted_and_has_one_example() -> None:
    findings = Findings()
    for name in ("a", "b\x1b[2J", "c"):
        findings.note("files were left out", 1, name)
    findings.note("the file is read as UTF-16")
    findings.note("names", 2, "x\x1b]0;owned\x07" * 20)
    assert findings.notes[:2] == ["files were left out: 3, such as a", "the file is read as UTF-16"]
    assert "\x1b" not in findings.notes[2]
    assert len(findings.notes[2]) < 100


def test_notes_are_bounded() -> None:
    findings = Findings()
    for number in range(2 * MOST_NOTES):
        findings.note(f"note {number}")
    assert len(findings.notes) == MOST_NOTES


def test_attributes_with_nothing_to_know_share_a_line() -> None:
    attributes = {f"a{number}": AttributeFinding(type="string", example="x") for number in range(40)}
    attributes["price"] = AttributeFinding(type="number", how="decimal comma", example="9,90", misfits=2, misfit="free")
    first, last = describe_attributes(Findings(attributes))
    assert first == "'price' is number (decimal comma), from values such as '9,90'; 2 values do not fit, such as 'free'"
    assert last.endswith("a29 (string) and 10 more")
