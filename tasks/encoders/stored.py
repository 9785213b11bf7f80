"""Encoders in a store: exported once, so that every run and every query uses the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from lookalike.data.errors import AlreadyExistsError, EncoderError, NotFoundError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSource, EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source, name_found_again
from lookalike.tasks.encoders.texts.exported import put_text_encoder


def store_encoder(store: ObjectStore, name: str) -> EncoderSection:
    """Return the stored encoder under a name by which it is found again; export it first if it is new.

    Raises `EncoderError` where it cannot be found or exported, or where the store lost it.
    """
    encoder = find_source(name)
    return store_source(store, encoder).model_copy(update={"name": name_found_again(name, encoder)})


def store_source(store: ObjectStore, encoder: EncoderSource) -> EncoderSection:
    """Return the stored encoder of a source under the source's name; export it first if it is new.

    Raises `EncoderError` where it cannot be exported, or where the store lost it.
    """
    return store_once(store, encoder.name, encoder.fingerprint(), lambda: _export(store, encoder))


def store_once(store: ObjectStore, name: str, fingerprint: str, export: Callable[[], EncoderSection]) -> EncoderSection:
    """Return the stored encoder of a fingerprint under a name; export it first if it is new.

    Raises `EncoderError` where the store lost it, and another export gives other bytes.
    """
    key = _make_key(fingerprint)
    try:
        found = EncoderSection.model_validate_json(store.read(key))
    except NotFoundError:
        found = _create_section(store, key, export())
    if not _is_whole(store, found) and not export().is_same(found):
        raise EncoderError(f"the store lost the bytes of {name}, and exporting it again gives others: delete {key}")
    # its weights may lie elsewhere than when it was exported, and workers with a GPU read them
    return found.model_copy(update={"name": name})


def find_spec(store: ObjectStore, fingerprint: str) -> EncoderSpec | None:
    """Return the description of a stored encoder, or None where the store has no such encoder."""
    data = read_spec(store, fingerprint)
    return EncoderSpec.model_validate_json(data) if data else None


def read_spec(store: ObjectStore, fingerprint: str) -> bytes | None:
    """Return the description of a stored encoder as JSON, or None where the store has no such encoder."""
    try:
        section = EncoderSection.model_validate_json(store.read(_make_key(fingerprint)))
    except NotFoundError:
        return None
    return blobs.read(store, section.spec)


def _make_key(fingerprint: str) -> str:
    return f"encoders/{fingerprint}.json"


def _export(store: ObjectStore, encoder: EncoderSource) -> EncoderSection:
    with tempfile.TemporaryDirectory(prefix="lookalike-encoder-") as folder:
        spec = encoder.export(Path(folder))
        _check_export(encoder, spec, Path(folder) / MODEL_FILE)
        return EncoderSection(
            name=encoder.name,
            fingerprint=spec.fingerprint,
            dimension=spec.dimension,
            spec=blobs.put_bytes(store, spec.model_dump_json(indent=2).encode()),
            model=blobs.put_file(store, Path(folder) / MODEL_FILE),
            text=_export_text_tower(store, encoder, spec),
        )


def _export_text_tower(store: ObjectStore, encoder: EncoderSource, spec: EncoderSpec) -> EncoderSection | None:
    """Store what encodes texts into the space of pictures, where the encoder has that. Raises `EncoderError`."""
    make = getattr(encoder, "text_tower", None)
    tower = make() if make else None
    if tower is None:
        return None
    found = put_text_encoder(store, tower)
    if (found.fingerprint, found.dimension) != (spec.fingerprint, spec.dimension):
        raise EncoderError(
            f"the tower of texts of {encoder.name} gives {found.dimension} numbers under {found.fingerprint}, that of "
            f"pictures {spec.dimension} under {spec.fingerprint}: they are not of one space"
        )
    return found


def _check_export(encoder: EncoderSource, spec: EncoderSpec, model: Path) -> None:
    """Raise `EncoderError` unless the export runs, is one file, and has the source's fingerprint."""
    if spec.fingerprint != encoder.fingerprint():
        raise EncoderError(f"{encoder.name} was exported with the fingerprint {spec.fingerprint}, not its own")
    if more := sorted(path.name for path in model.parent.iterdir() if path != model):
        raise EncoderError(
            f"{encoder.name} was exported with {', '.join(more)} beside {MODEL_FILE}, and snapshots carry one file: "
            "torch puts up to 1.5 GiB of weights into it, so choose a smaller model"
        )
    exported = OnnxEncoder(model.read_bytes(), spec, threads=1)  # as workers and servers open it
    try:
        exported.warm_up()
    except Exception as error:  # ONNX Runtime's own classes share no base
        raise EncoderError(f"{encoder.name} was exported, but cannot be run: {error}") from error


def _create_section(store: ObjectStore, key: str, section: EncoderSection) -> EncoderSection:
    try:
        store.create(key, section.model_dump_json(indent=2).encode())
    except AlreadyExistsError:  # another run exported it at the same time, and was first
        return EncoderSection.model_validate_json(store.read(key))
    return section


def _is_whole(store: ObjectStore, section: EncoderSection) -> bool:
    try:
        return all(store.stat(blob.key).size == blob.size for blob in section.files)
    except NotFoundError:
        return False
