"""Encoders in a store: exported once, then the same bytes for every run and every query."""

from __future__ import annotations

import tempfile
from pathlib import Path

from data import blobs
from data.errors import AlreadyExistsError, NotFoundError
from data.manifest import EncoderSection
from data.stores import ObjectStore
from tasks.encoders.base import MODEL_FILE
from tasks.encoders.registry import source


def stored_encoder(store: ObjectStore, name: str) -> EncoderSection:
    """Return the encoder `name` as it lies in the store, exporting it first where it is new there.

    Raises `EncoderError` where it cannot be found or exported.
    """
    encoder = source(name)
    key = f"encoders/{encoder.fingerprint()}.json"
    try:
        return EncoderSection.model_validate_json(store.read(key))
    except NotFoundError:
        pass
    with tempfile.TemporaryDirectory(prefix="lookalike-encoder-") as folder:
        spec = encoder.export(Path(folder))
        section = EncoderSection(
            name=name,
            fingerprint=spec.fingerprint,
            dimension=spec.dimension,
            spec=blobs.put_bytes(store, spec.model_dump_json(indent=2).encode()),
            model=blobs.put_file(store, Path(folder) / MODEL_FILE),
        )
    try:
        store.create(key, section.model_dump_json(indent=2).encode())
    except AlreadyExistsError:  # another run exported it at the same time, and its bytes are the ones that count
        return EncoderSection.model_validate_json(store.read(key))
    return section
