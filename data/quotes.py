"""Quotes in CSV: a value whose quote is never closed takes the lines after it along, without a word."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from data.errors import CatalogueError

# one pattern for many values: a step of Python for each of them would take as long as reading does
_SOUND = re.compile(
    rb"""(?:
        [^"]++
        | " (?: (?<=[^,\r\n]") (?<!\A\xef\xbb\xbf")          # in the middle of a value: a part of it
              | [^"]*+ (?: "" [^"]*+ )*+ " (?=[,\r\n]|\Z)    # opens a value, and another one closes it at its end
              | [^"\r\n]*+ (?: "" [^"\r\n]*+ )*+ " (?!")     # or before its end, but in the same line
        )
    ){0,10000}+""",
    re.VERBOSE,
)
_LINE_END = re.compile(rb"\r\n?|\n")


def check_quotes(file: Path, name: str) -> None:
    """See that each quote that opens a value of a CSV is closed where the value ends. Raises `CatalogueError`."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        sound = 0
        while (found := _SOUND.match(text, sound)) and found.end() > sound:
            sound = found.end()
        if sound == len(text):
            return
        line = 1 + sum(1 for _ in _LINE_END.finditer(text, 0, sound))
    raise CatalogueError(
        f'{name}, line {line}: the quote (") that opens a value here is not closed, so what follows, line after line, '
        'becomes part of the value. Close it; a value that contains a quote is written "12"" pan"'
    )
