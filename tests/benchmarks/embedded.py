"""Pictures of a folder, embedded for benchmarks: as they are, distorted, or changed in other ways, each set once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.data.snapshots import blobs
from lookalike.data.stores import open_store
from lookalike.tasks.embed.pipeline import ImageToEmbed, Read, embed
from lookalike.tasks.encoders.base import Encoder, EncoderSource, EncoderSpec, scale_to_unit_length
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.stored import store_source
from lookalike.tasks.images.decode import DEFAULT_LIMITS, FORMATS, ImageLimits, decode
from lookalike.tasks.images.preprocessing import Preprocessing
from tests.benchmarks import distortions
from tests.benchmarks.distortions import distorted
from tests.benchmarks.picking import evenly, pictures_below

Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SEED = 7


def mirrored(pixels: Pixels) -> Pixels:
    """Left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])


def enlarged(pixels: Pixels) -> Pixels:
    """The middle three quarters of each side, at full size."""
    size = len(pixels)
    edge = size // 8
    image = Image.fromarray(pixels).resize((size, size), box=(edge, edge, size - edge, size - edge))
    return np.array(image, dtype=np.uint8)


VIEWS: dict[str, tuple[Callable[[Pixels], Pixels] | None, ...]] = {
    "plain": (None,),
    "flip": (None, mirrored),
    "zoom": (None, enlarged),
}
"""What is looked at of each picture, catalogue and query alike: the vectors of all views are added up."""


def looks(data: bytes) -> bytes | None:
    """Return what two files share that show the same, pixel by pixel, in whatever format; None for no picture."""
    try:
        image = decode(data, target=distortions.MOST_PIXELS)
    except ImageRejectedError:
        return None
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures that look different, by the sha256 of their files, in a stable order."""

    files: dict[str, Path]

    @classmethod
    def below(cls, folder: Path, most: int | None) -> Pictures:
        """Those below a folder, or so many of them, evenly picked."""
        paths = pictures_below(folder)
        found: dict[bytes, tuple[str, Path]] = {}
        for path in evenly(paths, most) if most else paths:
            data = path.read_bytes()
            if look := looks(data):
                found.setdefault(look, (hashlib.sha256(data).hexdigest(), path))
        if not found:
            raise SystemExit(f"no file below {folder} can be decoded: give whole pictures, {', '.join(FORMATS)}")
        return cls(dict(found.values()))

    def sample(self, count: int) -> Pictures:
        """Return so many of them, always the same."""
        keys = sorted(Random(SEED).sample(sorted(self.files), min(count, len(self.files))))
        return Pictures({key: self.files[key] for key in keys})

    def digest(self) -> str:
        """Of the content of all."""
        return hashlib.sha256("".join(self.files).encode()).hexdigest()

    def read(self, key: str) -> bytes:
        """Read one file."""
        return self.files[key].read_bytes()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (n, d) of the pictures that could be used, by key, and how long they took."""

    keys: tuple[str, ...]
    vectors: Vectors
    seconds: float

    def added(self, other: Embedded) -> Embedded:
        """Return the directions between those of two views of the same pictures, of those that have both."""
        one, another = self.among(other.keys), other.among(self.keys)
        return Embedded(one.keys, scale_to_unit_length(one.vectors + another.vectors), one.seconds + another.seconds)

    def among(self, keys: Iterable[str]) -> Embedded:
        """Return those whose keys are among these."""
        wanted = frozenset(keys)
        rows = [row for row, key in enumerate(self.keys) if key in wanted]
        return Embedded(tuple(self.keys[row] for row in rows), self.vectors[rows], self.seconds)


class View:
    """An encoder that looks at each picture in another way."""

    def __init__(self, encoder: Encoder, change: Callable[[Pixels], Pixels]) -> None:
        self._encoder = encoder
        self._change = change
        self.spec, self.batch_size = encoder.spec, encoder.batch_size
        self.infer, self.finish, self.warm_up = encoder.infer, encoder.finish, encoder.warm_up

    def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Pixels:
        """As the encoder does, then changed."""
        return self._change(self._encoder.prepare(image, limits))


class Bench:
    """Embeds pictures with one encoder, each set once: vectors are kept in a folder."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._folder = folder / "vectors"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._encoder = encoder

    def catalogue(self, pictures: Pictures, views: str) -> Embedded:
        """Embed pictures as they are."""
        return self._views(pictures, views, "catalogue", pictures.read)

    def queries(self, pictures: Pictures, views: str, distortion: str) -> Embedded:
        """Embed pictures under a distortion."""
        kind = f"{distortion} {distortions.VERSION} {SEED}"
        return self._views(pictures, views, kind, lambda key: distorted(pictures.read(key), distortion, SEED))

    def copies(self, pictures: Pictures, kind: str, change: Callable[[bytes], bytes]) -> Embedded:
        """Embed pictures changed in a way of another benchmark; `kind` says it, with its version."""
        return self._kept(pictures, None, kind, lambda key: change(pictures.read(key)))

    def _views(self, pictures: Pictures, views: str, kind: str, read: Read) -> Embedded:
        first, *others = (self._kept(pictures, change, kind, read) for change in VIEWS[views])
        for other in others:
            first = first.added(other)
        return first

    def _kept(self, pictures: Pictures, change: Callable[[Pixels], Pixels] | None, kind: str, read: Read) -> Embedded:
        spec = self._encoder.spec
        view = change.__name__ if change else "plain"
        key = f"{spec.fingerprint} {spec.preprocessing.model_dump_json()} {view} {kind} {pictures.digest()}"
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as kept:
                return Embedded(tuple(kept["keys"].tolist()), kept["vectors"], float(kept["seconds"]))
        made = _embed(View(self._encoder, change) if change else self._encoder, pictures, read)
        np.savez(path, keys=np.array(made.keys), vectors=made.vectors, seconds=made.seconds)
        return made


def _embed(encoder: Encoder, pictures: Pictures, read: Read) -> Embedded:
    encoder.warm_up()
    start = time.perf_counter()
    batches = list(embed((ImageToEmbed(key, key) for key in pictures.files), encoder, read=read))
    seconds = time.perf_counter() - start
    keys = tuple(key for batch in batches for key in batch.keys)
    return Embedded(keys, np.concatenate([batch.vectors for batch in batches]), seconds)


def opened(folder: Path, encoder: EncoderSource, fit: str | None, threads: int) -> OnnxEncoder:
    """Export an encoder, or find it exported, with its own way to fit pictures or this one."""
    store = open_store(str(folder))
    section = store_source(store, encoder)
    spec = EncoderSpec.model_validate_json(blobs.read(store, section.spec))
    if fit:
        fitted = Preprocessing.model_validate({**spec.preprocessing.model_dump(), "fit": fit})
        spec = spec.model_copy(update={"preprocessing": fitted})
    return OnnxEncoder(blobs.read(store, section.model), spec, threads=threads)
