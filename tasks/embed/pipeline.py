"""Embed many pictures: threads read and decode them, while the model runs in the caller's thread."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import ImageRejectedError, NotFoundError, StoreError
from lookalike.data.processors import count_processors
from lookalike.data.snapshots.colours import Shares
from lookalike.tasks.encoders.base import Encoder
from lookalike.tasks.images.colours import measure_colours
from lookalike.tasks.images.preprocessing import apply, decode_for

Read = Callable[[str], bytes]
"""Returns the bytes behind a reference; raises OSError or StoreError. Called from several threads."""

Stage = Literal["read", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class ImageToEmbed:
    """One picture: `key` comes back with its vector, `reference` is what `read` understands."""

    key: str
    reference: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A picture without a vector: the stage that rejected it, a stable reason code, and a message for people."""

    key: str
    reference: str
    stage: Stage
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """Pictures in their order: those with vectors, and those that were rejected.

    `vectors` is float32 (len(keys), dimension), each of length 1. `keys` or `rejects` may be empty, not both.
    `colours` has the shares (len(keys), colours) of what was measured; None where nobody wants them.
    """

    keys: tuple[str, ...]
    vectors: NDArray[np.float32]
    rejects: tuple[Reject, ...]
    colours: Shares | None = None


def embed(
    images: Iterable[ImageToEmbed],
    encoder: Encoder,
    *,
    read: Read,
    batch_size: int | None = None,
    decode_threads: int | None = None,
    read_threads: int | None = None,
    colours: bool = False,
) -> Iterator[EmbeddedBatch]:
    """Embed pictures in order. No picture stops the run: one that cannot be used becomes a reject.

    Memory is bounded for any number of pictures of any size: it holds at most `read_threads` files (default:
    `decode_threads`), `decode_threads` pictures that are being decoded (default: one for each processor), and two
    batches of prepared pixels. `batch_size` defaults to the encoder's own. A caller that stops early leaves no thread
    behind. `colours` says whether the colours of pictures are measured, too, while they are decoded.
    """
    threads = decode_threads or count_processors()
    size = batch_size or encoder.batch_size
    pool = ThreadPoolExecutor(max(threads, read_threads or 0), thread_name_prefix="decode")
    decoding = BoundedSemaphore(threads)
    try:
        prepared = _prepare_in_order(
            images, lambda image: _prepare(image, encoder, read, decoding, colours=colours), pool, ahead=2 * size
        )
        while batch := list(itertools.islice(prepared, size)):
            yield _encode(batch, encoder)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_Pixels = tuple[NDArray[np.uint8], Shares | None]
_Prepared = tuple[ImageToEmbed, _Pixels | Reject]


def _prepare_in_order(
    images: Iterable[ImageToEmbed],
    prepare: Callable[[ImageToEmbed], _Prepared],
    pool: ThreadPoolExecutor,
    *,
    ahead: int,
) -> Iterator[_Prepared]:
    waiting: deque[Future[_Prepared]] = deque()
    for image in images:
        waiting.append(pool.submit(prepare, image))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _prepare(
    image: ImageToEmbed, encoder: Encoder, read: Read, decoding: BoundedSemaphore, *, colours: bool
) -> _Prepared:
    try:
        data = read(image.reference)
    except ImageRejectedError as error:
        return image, _reject(image, "read", error.reason, error)
    except (FileNotFoundError, NotFoundError) as error:
        return image, _reject(image, "read", "not_found", error)
    except (OSError, StoreError) as error:
        return image, _reject(image, "read", "unreadable", error)
    try:
        with decoding:
            return image, _prepare_with_colours(data, encoder) if colours else (encoder.prepare(data), None)
    except ImageRejectedError as error:
        return image, _reject(image, "decode", error.reason, error)


def _prepare_with_colours(data: bytes, encoder: Encoder) -> _Pixels:
    """Do what `encoder.prepare` does, and look at the colours of what was decoded, too."""
    preprocessing = encoder.spec.preprocessing
    decoded, alpha = decode_for(preprocessing, data)
    return apply(preprocessing, decoded), measure_colours(decoded, alpha)


def _encode(batch: list[_Prepared], encoder: Encoder) -> EmbeddedBatch:
    rejects = [outcome for _, outcome in batch if isinstance(outcome, Reject)]
    usable = [(image, outcome) for image, outcome in batch if not isinstance(outcome, Reject)]
    if not usable:
        return EmbeddedBatch((), np.empty((0, encoder.spec.dimension), dtype=np.float32), tuple(rejects))
    vectors = encoder.finish(encoder.infer(np.stack([pixels for _, (pixels, _) in usable])))
    has_direction: list[bool] = np.any(vectors, axis=1).tolist()
    for (image, _), points in zip(usable, has_direction, strict=True):
        if not points:
            rejects.append(_reject(image, "encode", "no_vector", "the encoder sees nothing in the picture"))
    keys = tuple(image.key for (image, _), points in zip(usable, has_direction, strict=True) if points)
    measured = [
        shares for (_, (_, shares)), points in zip(usable, has_direction, strict=True) if points and shares is not None
    ]
    return EmbeddedBatch(keys, vectors[has_direction], tuple(rejects), np.stack(measured) if measured else None)


def _reject(image: ImageToEmbed, stage: Stage, reason: str, message: object) -> Reject:
    return Reject(image.key, image.reference, stage, reason, str(message) or type(message).__name__)
