"""HEIC, as phones of Apple take pictures: read by a package that not every installation has."""

from __future__ import annotations

import logging

EXTRA = "HEIC is read where the extra `heic` is installed: pip install 'lookalike[heic]'"
FORMAT = "HEIF"
"""Pillow's name of the format."""

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_LONGEST_HEAD = 128


def is_heic(data: bytes) -> bool:
    """Tell whether a file says that it is HEIC: in its first box, which lists what can read it. AVIF says otherwise."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4]), _LONGEST_HEAD)
    return any(data[place : place + 4] in _BRANDS for place in range(8, end, 4))


def can_read_heic() -> bool:
    """Tell whether HEIC can be read here, and let Pillow read it. The package is loaded for the first such picture."""
    try:
        from pillow_heif import register_heif_opener  # noqa: PLC0415 - an extra
    except ImportError as error:
        logging.getLogger(__name__).debug("HEIC cannot be read: %s", error)
        return False
    # a thumbnail may show something else than its picture; several pictures are decoded at a time, each by one thread
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return True
