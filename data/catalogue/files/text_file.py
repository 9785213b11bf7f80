"""Files of text as shops have them, made readable: in UTF-8, and without the lines that cannot be understood.

A file that is UTF-8 and sound, as most are, is used where it is. Another one is copied once, on local disk.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lookalike.data.catalogue.findings import shorten
from lookalike.data.catalogue.rejects import Reject
from lookalike.data.catalogue.tables import TableRequest
from lookalike.data.errors import CatalogueError

CHUNK = 4 * 2**20
SAMPLE_BYTES = 2**16
MOST_BAD_LINES = 1000
WESTERN = "cp1252"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BROKEN = re.compile("[\udc80-\udcff]")
_WHOLE = re.compile("[^\x00-\x7f\udc80-\udcff]")
_IN_A_WORD = re.compile(r"(?<=[a-z])([^\x00-\x7f])(?=[a-z])")
_IN_WORDS = frozenset("\u2019\u2018\u2013\u2014\u00b7\u00ad\u00a0\u00ae\u2122")
_FOREIGN_WORD = re.compile(r"\w*[^\W\x00-\x7f]\w*")
_SAID_OF_ALL = frozenset({"ascii", "utf-8", "iso8859-1", WESTERN})
_FEW = 3  # so many times more of one than of the other decide
_HOW = "say how the file was saved, such as --encoding cp1250, shift_jis or gb18030, or save it as UTF-8"


@dataclass
class TextFile:
    """A file in UTF-8.

    Attributes:
        path: where it is now.
        left_out: the numbers of the lines of the original that are not in it, in ascending order.
        rejects: one for each of these lines.
    """

    path: Path
    left_out: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def original_line(self, line: int) -> int:
        """Return the number that a line of this file has in the original."""
        for gone in self.left_out:
            if gone > line:
                break
            line += 1
        return line

    def leave_out(self, path: Path, bad: dict[int, str]) -> TextFile:
        """Return a copy at `path` without some lines, given by number with what is wrong with each."""
        with self.path.open("rb") as source, path.open("wb") as target:
            target.writelines(line for number, line in enumerate(source, start=1) if number not in bad)
        original = {self.original_line(number): message for number, message in bad.items()}
        rejects = [bad_line(number, message) for number, message in original.items()]
        return TextFile(path, sorted([*self.left_out, *original]), [*self.rejects, *rejects])


def bad_line(line: int | None, message: str) -> Reject:
    """Return the reject of a line that is no row."""
    where = "a line" if line is None else f"line {line:,}"
    return Reject("", where, "scan", "malformed_row", f"{where}: {message}")


def read_as_utf8(file: Path, request: TableRequest) -> TextFile:
    """Return the file in UTF-8. Raises `CatalogueError` where nobody can tell how it was saved."""
    file = _with_line_ends(file, request.folder)
    found = request.encoding or _find_mark(file)
    who = "" if request.encoding else ", as its bytes say"
    if found is None and _is_utf8(file):
        return TextFile(file)
    if found is None and (found := _meant_charset(request.charset)):
        who = ", as its server says"
    if found is None:
        broken = _find_broken_lines(file)
        if broken.whole > _FEW * broken.bytes and 1 not in broken.lines and len(broken.lines) <= MOST_BAD_LINES:
            message = "a value is not in UTF-8, and the rest of the file is"
            bad = {line: f"{message} (byte {column:,} of the line)" for line, column in broken.lines.items()}
            return TextFile(file).leave_out(request.folder / f"{file.name}.whole", bad)
        if _FEW * broken.whole > broken.bytes:
            line, column = next(iter(broken.lines.items()))
            where = f"(byte {column:,} of the line)"
            raise CatalogueError(
                f"{request.name}, line {line:,}: neither all in UTF-8 nor all in another {where}: {_HOW}"
            )
        found = WESTERN
        _check_western(file, request.name)
    target = request.folder / f"{file.name}.utf8"
    _transcode(file, target, found, request.name)
    word = _find_foreign_word(target)
    seen = f", with words such as {shorten(word)}" if word else ""
    request.findings.note(f"the file is read as {_plain_name(found)}{who}{seen}")
    return TextFile(target)


def _meant_charset(charset: str | None) -> str | None:
    """Return how a server says that a file was saved. What servers say of all files by default says nothing."""
    try:
        meant = codecs.lookup(charset or "ascii").name
    except LookupError:
        return None
    return None if meant in _SAID_OF_ALL else meant


def _with_line_ends(file: Path, folder: Path) -> Path:
    """Return a file whose lines end as they do today: spreadsheets still write those of old Macs on demand."""
    with file.open("rb") as opened:
        head = opened.read(SAMPLE_BYTES)
    if b"\r" not in head or b"\n" in head or b"\x00" in head:
        return file
    target = folder / f"{file.name}.lines"
    with file.open("rb") as source, target.open("wb") as copy:
        for chunk in _chunks(source):
            copy.write(chunk.replace(b"\r", b"\n"))
    return target


def _find_foreign_word(file: Path) -> str | None:
    """Return a word with a letter that is not ASCII, by which people see if the encoding is right."""
    with file.open(encoding="utf-8") as opened:
        found = _FOREIGN_WORD.search(opened.read(CHUNK))
    return found[0] if found else None


def _plain_name(encoding: str) -> str:
    return "Windows-1252 (Western European)" if encoding == WESTERN else encoding.upper()


def _find_mark(file: Path) -> str | None:
    with file.open("rb") as opened:
        head = opened.read(4096)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) > 3 and head.count(0) > len(head) / 4:  # most of a Latin text in UTF-16
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    return None


def _is_utf8(file: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as opened:
        try:
            while chunk := opened.read(CHUNK):
                if decoder.getstate()[0] or not chunk.isascii():
                    decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


@dataclass
class _Broken:
    """What in a file is not UTF-8: the lines, with where it is in the line, and how many bytes; and how much is."""

    lines: dict[int, int] = field(default_factory=dict)
    bytes: int = 0
    whole: int = 0


def _find_broken_lines(file: Path) -> _Broken:
    broken = _Broken()
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.isascii():
                continue
            text = line.decode("utf-8", "surrogateescape")
            broken.whole += len(_WHOLE.findall(text))
            found = _BROKEN.findall(text)
            broken.bytes += len(found)
            if found and len(broken.lines) <= MOST_BAD_LINES:
                broken.lines[number] = len(text[: text.index(found[0])].encode()) + 1
    return broken


def _check_western(file: Path, name: str) -> None:
    """See that text that is not UTF-8 makes words in Windows-1252. Raises `CatalogueError`."""
    letters = odd = 0
    first: tuple[int, bytes] | None = None
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.isascii():
                continue
            try:
                text = line.decode(WESTERN)
            except UnicodeDecodeError as error:
                raise _unknown(name, number, line, error.start) from error
            found = _IN_A_WORD.findall(text)
            strange = [one for one in found if not one.islower() and one not in _IN_WORDS]
            # words in other scripts are runs of such letters
            runs = [run for run in re.findall(r"[^\x00-\x7f]{4,}", text) if not run.isspace()]
            letters += len(found) + sum(map(len, runs))
            odd += len(strange) + sum(map(len, runs))
            if first is None and (strange or runs):
                first = number, line
            if letters > 10_000:
                break
    if first is not None and odd > letters / 10:
        number, line = first
        raise _unknown(name, number, line, next(place for place, byte in enumerate(line) if byte > 0x7F))


def _unknown(name: str, number: int, line: bytes, place: int) -> CatalogueError:
    where = f"(byte {place + 1:,} of the line, near {_near(line, place)})"
    return CatalogueError(f"{name}, line {number:,}: neither in UTF-8 nor in Windows-1252 {where}: {_HOW}")


def _near(data: bytes, place: int) -> str:
    return shorten(data[max(0, place - 20) : place + 20].decode("ascii", "backslashreplace"))


def _transcode(file: Path, target: Path, encoding: str, name: str) -> None:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise CatalogueError(f"there is no encoding {encoding!r}: {_HOW}") from error
    lines, column = 1, 1
    with file.open("rb") as source, target.open("wb") as written:
        for chunk in _chunks(source):
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                good = str(error.object[: error.start], encoding, "replace")
                line, column = _move(lines, column, good)
                where = f"letter {column:,} of the line, near {_near(error.object, error.start)}"
                raise CatalogueError(
                    f"{name}, line {line:,}: not in {encoding} ({where}, {error.reason}): {_HOW}"
                ) from error
            lines, column = _move(lines, column, text)
            written.write(text.removeprefix("\ufeff").encode("utf-8", "replace"))


def _move(line: int, column: int, text: str) -> tuple[int, int]:
    """Return where one is after a text, counted from one."""
    _, end, last = text.rpartition("\n")
    return line + text.count("\n"), len(last) + (1 if end else column)


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a file, and an empty end."""
    while chunk := source.read(CHUNK):
        yield chunk
    yield b""
