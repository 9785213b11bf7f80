"""Text encoders in a store: exported once, so that every run and every query uses the same bytes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.encoders.stored import read_spec, store_once
from lookalike.tasks.encoders.texts.base import TextSpec
from lookalike.tasks.encoders.texts.exported import put_text_encoder
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.encoders.texts.registry import find_text_source, text_name_found_again


def store_text_encoder(store: ObjectStore, name: str) -> EncoderSection:
    """Return the stored text encoder under a name by which it is found again; export it first if it is new.

    Raises `EncoderError` where it cannot be found or exported, or where the store lost it.
    """
    source = find_text_source(name)
    found = store_once(store, source.name, source.fingerprint(), lambda: put_text_encoder(store, source))
    return found.model_copy(update={"name": text_name_found_again(name, source)})


def find_text_spec(store: ObjectStore, fingerprint: str) -> TextSpec | None:
    """Return the description of a stored text encoder, or None where the store has no such encoder."""
    data = read_spec(store, fingerprint)
    return TextSpec.model_validate_json(data) if data else None


def open_text_encoder(
    section: EncoderSection, spec: bytes, model: Path | bytes, vocabulary: bytes, *, threads: int
) -> OnnxTextEncoder:
    """Open an encoder from its parts. Raises `CorruptError` where they are not those of the section."""
    try:
        described = TextSpec.model_validate_json(spec)
    except ValidationError as error:
        raise CorruptError(f"the spec of the text encoder {section.name} is damaged: {error}") from error
    if (described.fingerprint, described.dimension) != (section.fingerprint, section.dimension):
        raise CorruptError(f"the spec of the text encoder {section.name} is not the one the manifest names")
    return OnnxTextEncoder(model, vocabulary, described, threads=threads)


@lru_cache(maxsize=2)
def load_text_encoder(store: str, section: EncoderSection, threads: int) -> OnnxTextEncoder:
    """Load a stored text encoder; each worker loads it once."""
    opened = open_store(store)
    if section.vocabulary is None:
        raise CorruptError(f"the text encoder {section.name} has no vocabulary")
    spec, model, vocabulary = (blobs.read(opened, blob) for blob in (section.spec, section.model, section.vocabulary))
    loaded = open_text_encoder(section, spec, model, vocabulary, threads=threads)
    loaded.warm_up()
    return loaded
