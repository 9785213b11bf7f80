"""Text encoders in a store: exported once, so that every run and every query uses the same bytes."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from lookalike.data.errors import CorruptError, EncoderError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.stored import read_spec, store_once
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, TextEncoderSource, TextSpec
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.encoders.texts.registry import find_text_source, text_name_found_again


def store_text_encoder(store: ObjectStore, name: str) -> EncoderSection:
    """Return the stored text encoder under a name by which it is found again; export it first if it is new.

    Raises `EncoderError` where it cannot be found or exported, or where the store lost it.
    """
    source = find_text_source(name)
    found = store_once(store, source.name, source.fingerprint(), lambda: _export(store, source))
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


def _export(store: ObjectStore, source: TextEncoderSource) -> EncoderSection:
    with tempfile.TemporaryDirectory(prefix="lookalike-text-encoder-") as folder:
        spec = source.export(Path(folder))
        model, vocabulary = Path(folder) / MODEL_FILE, Path(folder) / VOCABULARY_FILE
        _check_export(source, spec, model, vocabulary)
        return EncoderSection(
            name=source.name,
            fingerprint=spec.fingerprint,
            dimension=spec.dimension,
            spec=blobs.put_bytes(store, spec.model_dump_json(indent=2).encode()),
            model=blobs.put_file(store, model),
            vocabulary=blobs.put_file(store, vocabulary),
        )


def _check_export(source: TextEncoderSource, spec: TextSpec, model: Path, vocabulary: Path) -> None:
    """Raise `EncoderError` unless the export runs, is two files, and has the source's fingerprint."""
    if spec.fingerprint != source.fingerprint():
        raise EncoderError(f"{source.name} was exported with the fingerprint {spec.fingerprint}, not its own")
    wanted = {MODEL_FILE, VOCABULARY_FILE}
    there = {path.name for path in model.parent.iterdir()}
    if there != wanted:
        raise EncoderError(
            f"{source.name} was exported as {', '.join(sorted(there)) or 'nothing'}, and snapshots carry "
            f"{' and '.join(sorted(wanted))}: the weights must be inside of {MODEL_FILE}"
        )
    exported = OnnxTextEncoder(model.read_bytes(), vocabulary.read_bytes(), spec, threads=1)  # as servers open it
    try:
        exported.warm_up()
    except Exception as error:  # ONNX Runtime's own classes share no base
        raise EncoderError(f"{source.name} was exported, but cannot be run: {error}") from error
