"""The export of a text encoder into a store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lookalike.data.errors import EncoderError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, TextEncoderSource, TextSpec
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder


def put_text_encoder(store: ObjectStore, source: TextEncoderSource) -> EncoderSection:
    """Export a text encoder and store its files. Raises `EncoderError` unless they run and are those of the source."""
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
