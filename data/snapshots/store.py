"""Snapshots in a store: write, read, list, verify."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lookalike.data.errors import AlreadyExistsError, CorruptError, NotFoundError, SnapshotNotFoundError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import Manifest, parse_manifest, read_manifest_fields
from lookalike.data.stores import ObjectStore

FOLDER = "snapshots/"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


def manifest_key(snapshot: str) -> str:
    """Return the name of a snapshot's manifest in the store. Raises `SnapshotNotFoundError` for a malformed id."""
    return f"{FOLDER}{check_snapshot_id(snapshot)}/manifest.json"


def check_snapshot_id(snapshot: str) -> str:
    """Return `snapshot` if it is well-formed. Raises `SnapshotNotFoundError`."""
    if not _ID.fullmatch(snapshot):
        raise SnapshotNotFoundError(f"{snapshot!r} is no snapshot id; `lookalike snapshots list` shows them")
    return snapshot


def write_manifest(store: ObjectStore, manifest: Manifest) -> Manifest:
    """Make a snapshot exist; its blobs must be in the store already. Return what the store then holds."""
    try:
        store.create(manifest_key(manifest.id), manifest.to_json())
    except AlreadyExistsError:
        return read_manifest(store, manifest.id)  # the same second and the same content: it is the same snapshot
    return manifest


def read_manifest(store: ObjectStore, snapshot: str) -> Manifest:
    """Return a snapshot's manifest. Raises `SnapshotNotFoundError`, `CorruptError`, `UnsupportedFormatError`."""
    key = manifest_key(snapshot)
    try:
        manifest = parse_manifest(store.read(key), key)
    except NotFoundError as error:
        raise SnapshotNotFoundError(f"the store has no snapshot {snapshot}") from error
    if manifest.id != snapshot:
        raise CorruptError(f"{key} describes another snapshot, {manifest.id}")
    return manifest


def read_manifest_document(store: ObjectStore, snapshot: str) -> dict[str, Any]:
    """Return a snapshot's manifest as JSON, also from before the first release: who only keeps it needs its blobs.

    Raises `SnapshotNotFoundError`, `CorruptError`, and `UnsupportedFormatError` for a newer format.
    """
    key = manifest_key(snapshot)
    try:
        document = read_manifest_fields(store.read(key), key)
    except NotFoundError as error:
        raise SnapshotNotFoundError(f"the store has no snapshot {snapshot}") from error
    if document.get("id") != snapshot:
        raise CorruptError(f"{key} describes another snapshot, {document.get('id')}")
    return document


def list_snapshots(store: ObjectStore) -> Iterator[str]:
    """Yield the ids of all snapshots, oldest first."""
    for found in store.list(FOLDER):
        folder, _, name = found.key.removeprefix(FOLDER).partition("/")
        if name == "manifest.json" and _ID.fullmatch(folder):
            yield folder


def verify(store: ObjectStore, manifest: Manifest) -> list[str]:
    """Read every byte of a snapshot; return a sentence for each blob that is missing or damaged."""
    problems = []
    for name, blob in manifest.named_blobs().items():
        try:
            blobs.check(store, blob)
        except (CorruptError, NotFoundError) as error:
            problems.append(f"{name}: {error}")
    return problems
