"""Findings: what people should know of how a catalogue was read, such as what was left out, and types."""

from __future__ import annotations

from dataclasses import dataclass, field

from lookalike.data.reports import AttributeFinding

SHOWN = 60  # characters of a value
MOST_NOTES = 200
MOST_SAID = 30  # attributes in a log


@dataclass
class Findings:
    """What was noticed while a catalogue was read.

    Attributes:
        attributes: by name.
    """

    attributes: dict[str, AttributeFinding] = field(default_factory=dict)
    _notes: dict[str, tuple[int, str | None]] = field(default_factory=dict)

    def note(self, what: str, count: int = 0, example: str | None = None) -> None:
        """Note something once, or add to how often it was seen; the first example is kept."""
        seen, first = self._notes.get(what, (0, None))
        if what in self._notes or len(self._notes) < MOST_NOTES:
            self._notes[what] = seen + count, first if first is not None else example

    @property
    def notes(self) -> list[str]:
        """The notes as sentences, in the order in which they were made."""
        return [_sentence(what, *seen) for what, seen in self._notes.items()]


def shorten(value: object) -> str:
    """Return a value as a message shows it: in one line, and short."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[: SHOWN + 1])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def describe_attributes(findings: Findings) -> list[str]:
    """Return a sentence about each attribute with something to know, and one that lists the types of the others."""
    special = {name: one for name, one in findings.attributes.items() if one.how or one.misfit is not None}
    plain = [f"{shorten(name)} ({one.type})" for name, one in findings.attributes.items() if name not in special]
    said = [describe_attribute(name, one) for name, one in list(special.items())[:MOST_SAID]]
    if len(special) > MOST_SAID:
        said.append(f"{len(special) - MOST_SAID:,} more attributes are in the report of the run")
    if plain:
        more = f" and {len(plain) - MOST_SAID:,} more" if len(plain) > MOST_SAID else ""
        said.append(f"attributes: {', '.join(plain[:MOST_SAID])}{more}")
    return said


def describe_attribute(name: str, found: AttributeFinding) -> str:
    """Return a sentence about an attribute."""
    how = f" ({found.how})" if found.how else ""
    example = "" if found.example is None else f", from values such as {found.example!r}"
    if found.misfits:
        return f"{name!r} is {found.type}{how}{example}; {found.misfits:,} values do not fit, such as {found.misfit!r}"
    text = f"; it stays text for values such as {found.misfit!r}" if found.misfit is not None else ""
    return f"{name!r} is {found.type}{how}{example}{text}"


def _sentence(what: str, count: int, example: str | None) -> str:
    times = f": {count:,}" if count else ""
    return f"{what}{times}" if example is None else f"{what}{times}, such as {shorten(example)}"
