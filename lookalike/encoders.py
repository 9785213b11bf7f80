"""What an encoder of your own imports. These names stay the same when modules inside of Lookalike move.

`EncoderSource` says what such an encoder is, and `TextEncoderSource` what one of texts is. `FromPixels`, `Gem`,
`WeightsFile`, `dimension` and `export` need torch, which is imported when one of them is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import EncoderSource, EncoderSpec, fingerprint
from lookalike.tasks.encoders.texts.base import (
    BytePairSpec,
    TextEncoderSource,
    TextSpec,
    UnigramSpec,
    WordPieceSpec,
    fingerprint_of_texts,
)
from lookalike.tasks.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from lookalike.tasks.encoders.export import FromPixels, Gem, dimension, export
    from lookalike.tasks.encoders.library import WeightsFile

__all__ = [
    "BytePairSpec",
    "EncoderError",
    "EncoderSource",
    "EncoderSpec",
    "FromPixels",
    "Gem",
    "Preprocessing",
    "TextEncoderSource",
    "TextSpec",
    "UnigramSpec",
    "WeightsFile",
    "WordPieceSpec",
    "dimension",
    "export",
    "fingerprint",
    "fingerprint_of_texts",
]

_WITH_TORCH = {
    "FromPixels": "lookalike.tasks.encoders.export",
    "Gem": "lookalike.tasks.encoders.export",
    "WeightsFile": "lookalike.tasks.encoders.library",
    "dimension": "lookalike.tasks.encoders.export",
    "export": "lookalike.tasks.encoders.export",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WITH_TORCH[name]), name)
