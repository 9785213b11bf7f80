"""An encoder is exported into a store once, and found again there."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from lookalike.data.errors import EncoderError
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.encoders import stored
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.encoders.stored import find_spec, store_encoder, store_source


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[FakeEncoder]:
    """Every export that is made."""
    made: list[FakeEncoder] = []
    export = FakeEncoder.export

    def counted(self: FakeEncoder, *args: object) -> object:
        made.append(self)
        return export(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeEncoder, "export", counted)
    return made


def test_exports_once(exports: list[FakeEncoder]) -> None:
    store = MemoryStore()
    first = store_encoder(store, "fake")
    assert store_encoder(store, "fake") == first
    assert len(exports) == 1


def test_finds_what_is_stored() -> None:
    store = MemoryStore()
    fingerprint = FakeEncoder().fingerprint()
    assert find_spec(store, fingerprint) is None
    section = store_encoder(store, "fake")
    spec = find_spec(store, fingerprint)
    assert spec is not None
    assert (spec.fingerprint, spec.dimension) == (section.fingerprint, section.dimension)


def test_the_first_of_two_that_export_at_once_counts() -> None:
    store = MemoryStore()
    first = store_encoder(store, "fake")
    later = first.model_copy(update={"name": "later"})
    key = next(found.key for found in store.list("encoders/"))
    assert stored._create_section(store, key, later) == first


def test_bytes_that_the_store_lost_are_exported_again(exports: list[FakeEncoder]) -> None:
    store = MemoryStore()
    section = store_encoder(store, "fake")
    store.delete(section.model.key)
    assert store_encoder(store, "fake") == section
    assert store.stat(section.model.key).size == section.model.size
    assert len(exports) == 2


class Moved(FakeEncoder):
    """The same weights at another path."""

    name = "fake@elsewhere"

    def export(self, directory: Path) -> EncoderSpec:
        return FakeEncoder().export(directory)  # a path is no part of it


def test_a_class_is_found_again_by_how_it_was_given() -> None:
    """Else the next run without --encoder, and a worker with a GPU, would look for a name that nobody declared."""
    store, given = MemoryStore(), "lookalike.tasks.encoders.fake:FakeEncoder"

    section = store_encoder(store, given)

    assert find_source(given).name != given
    assert section.name == given
    assert find_source(section.name).fingerprint() == section.fingerprint


def test_weights_that_were_moved_are_found_where_they_are_now() -> None:
    store = MemoryStore()
    first = store_encoder(store, "fake")

    moved = store_source(store, Moved())

    assert moved == first.model_copy(update={"name": "fake@elsewhere"})
    assert moved.is_same(first)
    assert store_encoder(store, "fake") == first


def test_bytes_that_the_store_lost_are_exported_again_from_weights_that_were_moved() -> None:
    store = MemoryStore()
    first = store_encoder(store, "fake")
    store.delete(first.model.key)

    assert store_source(store, Moved()).model == first.model
    assert store.stat(first.model.key).size == first.model.size


class Pretender(FakeEncoder):
    """Exports another one than it says that it is."""

    def export(self, directory: Path) -> EncoderSpec:
        return super().export(directory).model_copy(update={"fingerprint": "0" * 16})


class Shifty(FakeEncoder):
    """Writes a model that is not what it describes."""

    def export(self, directory: Path) -> EncoderSpec:
        return super().export(directory).model_copy(update={"dimension": 7})


class Large(FakeEncoder):
    """Writes its weights beside the model, as torch does above 1.5 GiB."""

    def export(self, directory: Path) -> EncoderSpec:
        spec = super().export(directory)
        model = onnx.load(directory / MODEL_FILE)
        onnx.save(model, directory / MODEL_FILE, save_as_external_data=True, location="weights", size_threshold=0)
        return spec


@pytest.mark.parametrize(
    ("encoder", "message"),
    [(Pretender(), "not its own"), (Shifty(), "the spec says"), (Large(), "with weights beside .* a smaller model")],
)
def test_an_encoder_that_is_not_what_it_says_does_not_get_in(encoder: FakeEncoder, message: str) -> None:
    store = MemoryStore()

    with pytest.raises(EncoderError, match=message):
        store_source(store, encoder)
    assert list(store.list("")) == []
