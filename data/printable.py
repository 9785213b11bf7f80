"""Text of strangers, as a terminal or a log may have it."""

from __future__ import annotations

import logging
import re

# control characters, separators of lines, what turns the direction of writing (CVE-2021-42574), and halves of a pair
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""Return text that moves no cursor, begins no line and hides nothing. An escape becomes `\u001b`, as in JSON.

    Args:
        keep: characters that stay, such as the line ends of our own lines.
    """

    def write(found: re.Match[str]) -> str:
        letter = found[0]
        return letter if letter in keep else _SHORT.get(letter) or f"\\u{ord(letter):04x}"

    return _UNSAFE.sub(write, text)


def escape_record(record: logging.LogRecord) -> bool:
    """Escape what a log line says, with the values in it; a filter for loggers and handlers. Lines may have parts."""
    record.msg, record.args = escape_controls(record.getMessage(), keep="\n\t"), None
    return True
