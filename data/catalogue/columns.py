"""Columns: which column of a catalogue is which, said by people or found by the names in its first line."""

from __future__ import annotations

import csv
import difflib
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.presets import OWN_NAMES, Preset, find_preset, plain_name
from lookalike.data.catalogue.readings import DECLARED
from lookalike.data.catalogue.types import canonical
from lookalike.data.errors import CatalogueError

MOST_PICTURES: Final = 32
"""Of a product: of more, the first ones count."""
PICTURE_COLUMNS: Final = ("image", *(f"image_{number}" for number in range(2, MOST_PICTURES + 1)))
"""Those of a product's pictures, in their order; each may name several."""
OWN_COLUMNS: Final = ("id", "title", *PICTURE_COLUMNS)
_HOW = 'write id=Artikelnr,image=Bild,price=Preis:decimal_comma; quote a name with a comma, as in "image=Bild, gross"'
_OFTEN_CALLED: Final = {
    "id": r"(sku|id|ids|(item|product|article|artikel|variant)_?-?(id|no|nr|number|nummer|code)\.?|handle|ref(erence)?|"
    r"(artikel|bestell|produkt)-?_?(nr|nummer)\.?|gtin|ean|codigo|código)",
    "image": r"(.*(image|img|picture|photo|foto|bild|imagen|immagine|afbeelding).*)",
    "title": r"(name|title|titel|bezeichnung|"
    r"(product|produkt|item|artikel)_?-?(name|title|titel|bezeichnung)|nom|nombre|nome)",
}


@dataclass(frozen=True)
class Columns:
    """What people say of columns.

    Attributes:
        sources: the catalogue's name for each column that has another one, by ours.
        types: a key of `DECLARED` for each column whose type is declared, by our name.
    """

    sources: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def may_be_own(self, name: str) -> bool:
        """Tell whether a column may turn out to be the id, the picture or the title."""
        asked = [self.sources[own] for own in OWN_COLUMNS if own in self.sources]
        return name.strip() in (*OWN_COLUMNS, *asked) or (not asked and plain_name(name) in OWN_NAMES)

    def types_by_source(self) -> dict[str, str]:
        """Return the declared types by the catalogue's names."""
        return {self.sources.get(name, name): kind for name, kind in self.types.items()}


def parse_columns(text: str | None) -> Columns:
    """Read `id=Artikelnr,image=Bild,price=Preis:decimal_comma,day:date_dmy`. Raises `CatalogueError`."""
    sources: dict[str, str] = {}
    types: dict[str, str] = {}
    for part in next(csv.reader([unicodedata.normalize("NFC", text or "")], skipinitialspace=True), []):
        name, equals, source = (piece.strip() for piece in part.partition("="))
        rest, colon, kind = (source if equals else name).rpartition(":")
        typed = bool(colon) and kind.strip() in DECLARED
        if colon and not typed and re.fullmatch(r"\s*[a-z_]+", kind):
            raise CatalogueError(f"--columns: there is no type {kind.strip()!r}: write one of {', '.join(DECLARED)}")
        if typed:
            source, name = (rest.strip(), name) if equals else ("", rest.strip())
            types[name] = kind.strip()
        if not name or (not source and not typed) or name in sources:
            raise CatalogueError(f"--columns: {part!r} is not understood: {_HOW}")
        if source:
            sources[name] = source
    wrong = [name for name in OWN_COLUMNS if types.get(name, "text") != "text"]
    if wrong:
        raise CatalogueError(f"--columns: {wrong[0]!r} is always text: declare types of attributes only")
    return Columns(sources, types)


@dataclass(frozen=True)
class Layout:
    """Where the parts of a product stand in a catalogue's columns.

    Attributes:
        names: our name of each column that is used, by its place.
        preset: the program that the catalogue comes from, if one is known.
        lists: our names of columns that become lists of the values of a product's rows; `image` is one where each row
            has a picture of its own.
        several: our names of columns with several values in a cell.
    """

    names: dict[int, str]
    preset: Preset | None
    lists: frozenset[str]
    several: frozenset[str]

    def select(self, table: pa.Table) -> pa.Table:
        """Return the columns that are used, with our names."""
        return table.select(list(self.names)).rename_columns(list(self.names.values()))

    @property
    def attributes(self) -> list[str]:
        """Our names of the columns that products can be filtered by."""
        return [name for name in self.names.values() if name not in OWN_COLUMNS and name != self.parent]

    @property
    def parent(self) -> str | None:
        """Our name of the column that says of which product a row is a variant."""
        return self._find(self.preset.parent if self.preset else None)

    @property
    def sku(self) -> str | None:
        """Our name of the column by which `parent` names a product."""
        return self._find(self.preset.sku if self.preset else None)

    def _find(self, plain: str | None) -> str | None:
        return next((name for name in self.names.values() if plain_name(name) == plain), None) if plain else None


def find_layout(
    found: Sequence[str], columns: Columns, location: str, findings: Findings, *, separator: str | None = None
) -> Layout:
    """Return which column is which. Raises `CatalogueError` where one that is needed is not there, or there twice.

    Args:
        found: the names of the columns, in order; those without a name are left out.
        separator: what stands between the values of a CSV, in words.
    """
    names = [unicodedata.normalize("NFC", name.strip()) for name in found]
    preset = None if {"id", "image"} & columns.sources.keys() else find_preset(names)
    ours = {source: name for name, source in columns.sources.items()}
    if preset:
        findings.note(f"read as an export of {preset.name}")
        in_preset = {source: own for own, source in preset.own.items() if own not in columns.sources}
        ours |= {name: in_preset[plain_name(name)] for name in names if plain_name(name) in in_preset}
    else:
        ours |= _find_other_case(names, columns)
    _check_asked(columns, names, location)
    taken = set(ours.values())
    by_place: dict[int, str] = {}
    for place, name in enumerate(names):
        our = ours.get(name) or (name if name not in taken else None)
        if not name or our is None:
            continue
        if our not in by_place.values():
            by_place[place] = our
        elif our in OWN_COLUMNS:
            raise CatalogueError(f"the catalogue {location} has the column {name!r} twice: rename or remove one")
        else:
            findings.note("columns that are there more than once: the first is used", 1, name)
    _check_needed(by_place, names, location, separator)
    matching = {our: plain_name(names[place]) for place, our in by_place.items() if our not in OWN_COLUMNS}
    lists = {our for our, name in matching.items() if preset and re.fullmatch(preset.of_variants, name)}
    if preset and preset.parent:
        lists.add("image")
    return Layout(
        by_place,
        preset,
        frozenset(lists),
        frozenset(our for our, name in matching.items() if preset and re.fullmatch(preset.several, name)),
    )


def _find_other_case(names: Sequence[str], columns: Columns) -> dict[str, str]:
    """Return which of our columns others are that differ in case only, such as `ID` and `Image`."""
    found: dict[str, str] = {}
    for own in OWN_COLUMNS:
        alike = [name for name in names if name.lower() == own]
        if len(alike) == 1 and own not in columns.sources and alike[0] not in columns.sources.values():
            found[alike[0]] = own
    return found


def leave_out_nested(table: pa.Table, findings: Findings) -> pa.Table:
    """Return a table without the columns that no filter understands."""
    nested = [name for name in table.column_names if canonical(table[name].type) is None]
    for name in nested:
        if name not in OWN_COLUMNS:
            findings.note(
                f"the column {name!r} is left out: no filter understands its type, {str(table[name].type)[:60]}"
            )
    return table.drop_columns([name for name in nested if name not in OWN_COLUMNS])


def _check_asked(columns: Columns, names: Sequence[str], location: str) -> None:
    asked = [*columns.sources.values(), *(name for name in columns.types if name not in columns.sources)]
    for source in asked:
        if source not in names:
            near = difflib.get_close_matches(source, names, 1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CatalogueError(
                f"--columns names {source!r}, and the catalogue {location} has no such column{hint} It has "
                f"{_listed(names)}"
            )


def _check_needed(by_place: dict[int, str], names: Sequence[str], location: str, separator: str | None) -> None:
    missing = [name for name in ("id", "image") if name not in by_place.values()]
    if not missing:
        return
    between = f" (separated by {separator})" if separator else ""
    likely = ",".join(f"{name}={_find_nearest(name, names) or '…'}" for name in missing)
    advice = f"Say which is which: --columns {shlex.quote(likely)}" if names else "Its first line must name its columns"
    has = f"it has {_listed(names)}{between}"
    raise CatalogueError(
        f"the catalogue {location} lacks the column {' and '.join(map(repr, missing))}; {has}. {advice}. 'id' is "
        "unique, 'image' is a path or an address of a picture, 'title' is optional; all others become attributes"
    )


def _find_nearest(own: str, names: Sequence[str]) -> str | None:
    """Return the column that is most likely the id, the picture or the title."""
    often = [name for name in names if re.fullmatch(_OFTEN_CALLED[own], plain_name(name))]
    near = difflib.get_close_matches(own, [name.lower() for name in names], 1)
    return min(often, key=len) if often else next((name for name in names if name.lower() in near), None)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:30])
    return f"{shown} and {len(names) - 30:,} more" if len(names) > 30 else shown or "none"
