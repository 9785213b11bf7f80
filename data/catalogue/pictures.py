"""The pictures of products as catalogues name them: one, or several in a list, in a cell or in columns of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.columns import MOST_PICTURES
from lookalike.data.catalogue.findings import Findings
from lookalike.data.catalogue.references import PLAIN_ADDRESS, PLAIN_NAME, absolute_reference, list_references

FURTHER = "further"
"""The column of a product's further pictures, a list of references; it is there only where a product has any."""
UNUSABLE = "unusable: "
"""What a reference begins with that names no picture; why not follows."""


@dataclass(frozen=True)
class References:
    """What the rows of a table name.

    Attributes:
        first: for each row its first picture, null where it names none.
        further: for each row the others; None where no row has any.
        problems: the row of each reference that cannot be used beside others that can, and why.
    """

    first: pa.Array | pa.ChunkedArray
    further: pa.Array | None
    problems: list[tuple[int, str]]


def read_references(columns: Sequence[pa.ChunkedArray], base: str, findings: Findings) -> References:
    """Return the pictures that columns of text or of lists name, those of the first column first.

    Args:
        base: the folder that references are relative to.
    """
    if len(columns) == 1 and pa.types.is_string(columns[0].type):
        plain = _plain_references(columns[0], base)
        if plain is not None:
            return References(plain, None, [])
    first: list[str | None] = []
    further: list[list[str]] = []
    problems: list[tuple[int, str]] = []
    for row, cells in enumerate(zip(*(column.to_pylist() for column in columns), strict=True)):
        named = [_resolve(one, base) for cell in cells for one in list_references(cell)]
        used = _limit(named, findings)
        usable = [one for one in used if not one.startswith(UNUSABLE)]
        if usable:
            problems += [(row, one.removeprefix(UNUSABLE)) for one in used if one not in usable]
        shown = usable or used[:1]
        first.append(shown[0] if shown else None)
        further.append(shown[1:])
    return References(
        pa.array(first, pa.string()), pa.array(further, pa.list_(pa.string())) if any(further) else None, problems
    )


def _limit(named: list[str], findings: Findings) -> list[str]:
    """Return each reference once, and no more than a product may have."""
    once = list(dict.fromkeys(named))
    if len(once) < len(named):
        findings.note("products name the same picture several times; it counts once", 1, named[0])
    if len(once) > MOST_PICTURES:
        findings.note(
            f"products name more than {MOST_PICTURES} pictures; the first {MOST_PICTURES} are used", 1, once[0]
        )
    return once[:MOST_PICTURES]


def _plain_references(column: pa.ChunkedArray, base: str) -> pa.ChunkedArray | None:
    """Return references that are addresses, or names below the catalogue's folder, all together; None for others.

    Looking at each costs more time than reading it.
    """
    if pc.all(pc.match_substring_regex(column, PLAIN_ADDRESS)).as_py():
        return column
    if "://" not in base and pc.all(pc.match_substring_regex(column, PLAIN_NAME)).as_py():
        return pc.binary_join_element_wise(base, column, "/")
    return None


def _resolve(reference: str, base: str) -> str:
    try:
        return absolute_reference(reference, base)
    except ValueError as error:
        return f"{UNUSABLE}{error}"
