"""Find a text encoder by name: built in, from another package, in a folder, or any class."""

from __future__ import annotations

from typing import cast

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.entry_points import Origin, choose_only, find_declared, make_source
from lookalike.tasks.encoders.texts.base import TextEncoderSource
from lookalike.tasks.encoders.texts.files import OnnxFolder

GROUP = "lookalike.text_encoders"
"""The entry point group in which packages declare their text encoders: name = "module:Class"."""

FOLDER = "onnx"
"""The first part of the name of an encoder of one's own: `onnx:FOLDER`."""

HIDDEN = {"fake": "lookalike.tasks.encoders.texts.fake:FakeTextEncoder"}
"""What is not listed: it is for tests and dry runs without a model."""


def list_text_encoders() -> list[str]:
    """Return the names that `find_text_source` knows, sorted; `onnx:FOLDER` stands for a model of one's own."""
    return [*sorted(find_declared(GROUP)), f"{FOLDER}:FOLDER"]


def find_text_source(name: str) -> TextEncoderSource:
    """Find the source of a text encoder: an installed one, `onnx:FOLDER`, or `module:Class`.

    Raises `EncoderError`, saying which exist, if there is none of this name.
    """
    family, separator, folder = name.partition(":")
    if separator and family == FOLDER:
        return OnnxFolder(folder)
    return cast("TextEncoderSource", make_source(name, find_text_origin(name).value, "a TextEncoderSource"))


def text_name_found_again(name: str, source: TextEncoderSource) -> str:
    """Return the name by which later runs find a text encoder that was found by `name`; of a folder, absolutely."""
    return source.name if name.partition(":")[0] == FOLDER else name


def find_text_origin(name: str) -> Origin:
    """Return where the code of a text encoder is, without running it. Raises `EncoderError` if there is none."""
    family, separator, _ = name.partition(":")
    if separator and family == FOLDER:
        return Origin(f"{OnnxFolder.__module__}:{OnnxFolder.__name__}")
    if points := find_declared(GROUP).get(name):
        return choose_only(name, points)
    if name in HIDDEN:
        return Origin(HIDDEN[name])
    if separator:
        return Origin(name)
    raise EncoderError(
        f"no text encoder named {name!r}; there are {', '.join(list_text_encoders())}, and module:Class. "
        "minilm comes with the `texts` extra"
    )
