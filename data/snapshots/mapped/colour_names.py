"""The names of products' main colours as a server reads them: an attribute that no catalogue has to have.

It is made from the shares of a shard, so it follows the pictures, and a catalogue's own rows stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.colours import COLOURS, list_main_colours
from lookalike.data.snapshots.mapped.arrays import ArrayWriter
from lookalike.data.snapshots.mapped.columns import add_attribute

COLOUR_NAMES = "colours1"
"""The kind of such files in a cache: another layout gets another name, and the file is made again."""
ATTRIBUTE = "colour"
"""The attribute that products get."""
OWN = frozenset({"colour", "color"})
"""A catalogue that has one of these, in any case, keeps its own: what a shop says of a product is right."""


def write_colour_names(source: Path, target: Path) -> None:
    """Write the arrays of the attribute, from a shard's shares. Raises `CorruptError`."""
    try:
        shares = np.load(source, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptError(f"colours cannot be read: {error}") from error
    if shares.dtype != np.uint8 or shares.ndim != 2 or shares.shape[1] != len(COLOURS):
        raise CorruptError(f"colours are {shares.dtype}{shares.shape}")
    with pa.OSFile(str(target), "wb") as sink:
        writer = ArrayWriter(sink)
        add_attribute(writer, ATTRIBUTE, list_main_colours(shares))
        writer.close()
