"""Hits for people: a table with pictures in a terminal that can draw one, and lines elsewhere."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lookalike.cli.output import say
from lookalike.data.printable import escape_controls

PICTURE_SIZE = 128
"""Pixels of a side, as the server makes thumbnails."""
PICTURE_ROWS = 4
"""Rows of the terminal that a picture takes."""

Hit = Mapping[str, Any]
ReadPicture = Callable[[str, int | None], bytes]
"""Returns the picture of a product: the first one, or another of several."""


def print_hits(hits: Sequence[Hit], read_picture: ReadPicture | None = None) -> None:
    """Print hits, best first. What is no terminal gets a line for each: score, id and title."""
    if hits and _is_terminal() and _print_table(hits, read_picture):
        return
    for hit in hits:
        view = f"  (picture {hit['view']})" if hit.get("view", 1) > 1 else ""
        say(escape_controls(f"{hit['score']:.3f}  {hit['id']}  {hit['title']}{view}"))


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _print_table(hits: Sequence[Hit], read_picture: ReadPicture | None) -> bool:
    """Return False, having printed nothing, where the extra `terminal` is not installed."""
    try:
        # else it reports with a traceback that a terminal does not know its size in pixels
        logging.getLogger("textual_image").setLevel(logging.ERROR)
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
        from textual_image.renderable import Image  # asks the terminal what it can draw
    except ImportError:
        return False

    def text(words: object) -> Text:
        return Text(escape_controls(str(words)))

    def picture(hit: Hit) -> Any:
        content = read_picture(hit["id"], hit.get("view")) if read_picture is not None else b""
        try:
            return Image(io.BytesIO(content), width="auto", height=PICTURE_ROWS) if content else ""
        except OSError:  # as PIL has it for what is no picture
            return ""

    table = Table(box=box.SIMPLE_HEAD)
    columns = [*([] if read_picture is None else [""]), "score", "id", "title", "attributes"]
    for column in columns:
        table.add_column(column, overflow="fold")
    for hit in hits:
        shown = map(text, (f"{hit['score']:.3f}", hit["id"], hit["title"], _describe(hit["attributes"])))
        table.add_row(*([] if read_picture is None else [picture(hit)]), *shown)
    Console().print(table)
    return True


def _describe(attributes: Mapping[str, Any]) -> str:
    """Return attributes as conditions name them."""
    found = {name: value for name, value in attributes.items() if value is not None}
    joined = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in found.items()}
    return ", ".join(f"{name}={value}" for name, value in joined.items())
