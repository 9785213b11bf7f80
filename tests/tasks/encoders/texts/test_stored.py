"""A text encoder is exported into a store once, and opened from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.data.errors import CorruptError, EncoderError
from lookalike.data.snapshots import blobs
from lookalike.data.stores import open_store
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.encoders.texts.base import TextSpec, encode_texts
from lookalike.tasks.encoders.texts.fake import FakeTextEncoder
from lookalike.tasks.encoders.texts.registry import find_text_origin, find_text_source, list_text_encoders
from lookalike.tasks.encoders.texts.stored import (
    find_text_spec,
    load_text_encoder,
    open_text_encoder,
    store_text_encoder,
)


def test_it_is_exported_once_and_opened(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert find_text_spec(store, FakeTextEncoder().fingerprint()) is None

    section = store_text_encoder(store, "fake")

    assert store_text_encoder(store, "fake") == section
    assert find_text_spec(store, section.fingerprint) is not None
    encoder = load_text_encoder(str(tmp_path), section, 1)
    red, shoe, other = encode_texts(encoder, ["red shoes", "red shoe", "garden hose"])
    assert red @ shoe > 0.7 > red @ other


def test_what_the_store_lost_is_exported_again() -> None:
    store = MemoryStore()
    section = store_text_encoder(store, "fake")
    assert section.vocabulary is not None
    store.delete(section.vocabulary.key)

    assert store_text_encoder(store, "fake") == section
    assert blobs.read(store, section.vocabulary).startswith(b"[PAD]\n")


def test_a_spec_of_another_encoder_is_refused() -> None:
    store = MemoryStore()
    section = store_text_encoder(store, "fake")
    with pytest.raises(CorruptError, match="not the one the manifest names"):
        open_text_encoder(
            section.model_copy(update={"dimension": 7}), blobs.read(store, section.spec), b"", b"", threads=1
        )
    with pytest.raises(CorruptError, match="is damaged"):
        open_text_encoder(section, b"{}", b"", b"", threads=1)


class Pretender(FakeTextEncoder):
    """Exports another one than it says that it is."""

    def export(self, directory: Path) -> TextSpec:
        return super().export(directory).model_copy(update={"fingerprint": "0" * 16})


class Shifty(FakeTextEncoder):
    """Writes a model that is not what it describes."""

    def export(self, directory: Path) -> TextSpec:
        return super().export(directory).model_copy(update={"dimension": 7})


class Pooled(FakeTextEncoder):
    """Says that its model pools, which it does not."""

    def export(self, directory: Path) -> TextSpec:
        return super().export(directory).model_copy(update={"pooling": "none"})


class Large(FakeTextEncoder):
    """Writes more files than a snapshot carries."""

    def export(self, directory: Path) -> TextSpec:
        (directory / "weights").write_bytes(b"1")
        return super().export(directory)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pretender", "not its own"),
        ("Shifty", "the last of 7"),
        ("Pooled", "the spec says 2 axes"),
        ("Large", "snapshots carry model.onnx and vocab.txt"),
    ],
)
def test_an_encoder_that_is_not_what_it_says_does_not_get_in(name: str, message: str) -> None:
    store = MemoryStore()
    with pytest.raises(EncoderError, match=message):
        store_text_encoder(store, f"{__name__}:{name}")
    assert list(store.list("")) == []


def test_names() -> None:
    assert list_text_encoders()[-1] == "onnx:FOLDER"
    assert "minilm" in list_text_encoders()
    assert find_text_origin("minilm").value == "lookalike.tasks.encoders.texts.minilm:MiniLm"
    assert find_text_origin("onnx:x").value == "lookalike.tasks.encoders.texts.files:OnnxFolder"
    for name, message in [
        ("mini", "there are .*minilm.*`texts` extra"),
        ("pathlib:Path", "not a TextEncoderSource"),
        ("no.such:Thing", "cannot be loaded"),
    ]:
        with pytest.raises(EncoderError, match=message):
            find_text_source(name)
