"""Forms as clients write them: with words before the first part, or with line ends that are no CRLF.

RFC 2046 allows the former, and others read the latter too. The parser reads neither, so such a form is written again as
the parser expects it; all others pass as they come.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from itertools import islice

from python_multipart.multipart import parse_options_header

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
MAX_PARTS = 1000
"""More than any limit on files and fields lets through: what follows is one part, which the parser never reaches."""
_LINE_END = re.compile(rb"\r?\n")


async def tidy_form(stream: AsyncGenerator[bytes, None], content_type: str) -> AsyncGenerator[bytes, None]:
    """Yield the body of a form. One that does not begin with its first part is read whole: its limit bounds it."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    expected = b"--" + boundary + b"\r\n"
    begun = b""
    async for chunk in stream:
        begun += chunk
        if len(begun) >= len(expected):
            break
    if not boundary or begun.startswith(expected):
        yield begun
        async for chunk in stream:
            yield chunk
        return
    parts = [begun]
    async for chunk in stream:
        parts.append(chunk)  # noqa: PERF401 - a comprehension would hide that this is the rest
    yield write_form(b"".join(parts), boundary)


def write_form(body: bytes, boundary: bytes) -> bytes:
    """Return a form again, without what stands before its first part, and with CRLF where its own lines end."""
    mark = b"--" + re.escape(boundary)
    delimiter = re.compile(rb"(?:^|\r?\n)" + mark + rb"(--)?[ \t]*(?:\r?\n|$)")
    found = list(islice(delimiter.finditer(body), MAX_PARTS))
    if not found:
        return body
    ends = [*(one.start() for one in found[1:]), len(body)]
    written = [
        b"--" + boundary + b"\r\n" + _write_part(body[one.end() : end]) + b"\r\n"
        for one, end in zip(found, ends, strict=True)
        if not one.group(1)
    ]
    is_whole = found[-1].group(1) is not None
    return b"".join(written) + (b"--" + boundary + b"--\r\n" if is_whole else b"")


def _write_part(part: bytes) -> bytes:
    head = _END_OF_HEAD.search(part)
    if head is None:
        return part
    return _LINE_END.sub(b"\r\n", part[: head.start()]) + b"\r\n\r\n" + part[head.end() :]
