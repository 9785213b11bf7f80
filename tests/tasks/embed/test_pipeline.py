from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.errors import ImageRejectedError, NotFoundError, StoreUnavailableError
from lookalike.tasks.embed.pipeline import EmbeddedBatch, ImageToEmbed, Reject, embed
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec, encode
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.images.decode import DEFAULT_LIMITS, ImageLimits


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OnnxEncoder:
    folder = tmp_path_factory.mktemp("encoder")
    return OnnxEncoder(folder / MODEL_FILE, FakeEncoder().export(folder), threads=1)


def asked(count: int) -> list[ImageToEmbed]:
    return [ImageToEmbed(f"key-{index}", f"{index}.png") for index in range(count)]


def read(reference: str) -> bytes:
    return picture(int(reference.removesuffix(".png")))


def keys(batches: list[EmbeddedBatch]) -> list[str]:
    return [key for batch in batches for key in batch.keys]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_every_picture_once_and_in_order(encoder: OnnxEncoder, count: int) -> None:
    batches = list(embed(asked(count), encoder, read=read, batch_size=8))

    assert keys(batches) == [image.key for image in asked(count)]
    assert [len(batch.keys) for batch in batches[:-1]] == [8] * max(0, len(batches) - 1)
    for batch in batches:
        assert batch.vectors.shape == (len(batch.keys), encoder.spec.dimension)
        assert batch.vectors.dtype == np.float32
        assert not batch.rejects


def test_batch_and_query_give_the_same_vector(encoder: OnnxEncoder) -> None:
    vectors = np.concatenate([batch.vectors for batch in embed(asked(20), encoder, read=read, batch_size=8)])

    for image, vector in zip(asked(20), vectors, strict=True):
        assert float(encode(encoder, [read(image.reference)])[0] @ vector) >= 0.9999


def test_bad_pictures_are_rejected_and_the_rest_is_embedded(encoder: OnnxEncoder) -> None:
    bad: dict[str, bytes | Exception] = {
        "1.png": b"",
        "3.png": b"text",
        "4.png": picture(4)[:60],
        "5.png": FileNotFoundError("5.png"),
        "6.png": NotFoundError("6.png"),
        "7.png": PermissionError("no"),
        "8.png": StoreUnavailableError("away"),
        "9.png": ImageRejectedError("too_many_bytes", "refused by the reader"),
    }

    def sometimes(reference: str) -> bytes:
        answer = bad.get(reference, b"-")
        if isinstance(answer, Exception):
            raise answer
        return answer if answer != b"-" else read(reference)

    batches = list(embed(asked(12), encoder, read=sometimes, batch_size=4))

    assert keys(batches) == ["key-0", "key-2", "key-10", "key-11"]
    rejects = [reject for batch in batches for reject in batch.rejects]
    assert [(reject.reference, reject.stage, reject.reason) for reject in rejects] == [
        ("1.png", "decode", "empty"),
        ("3.png", "decode", "not_an_image"),
        ("4.png", "decode", "damaged"),
        ("5.png", "read", "not_found"),
        ("6.png", "read", "not_found"),
        ("7.png", "read", "unreadable"),
        ("8.png", "read", "unreadable"),
        ("9.png", "read", "too_many_bytes"),
    ]
    assert all(reject.message for reject in rejects)
    assert [len(batch.keys) for batch in batches] == [2, 0, 2]  # a batch of rejects only is reported as well


class Sighted:
    """An encoder as it is, for tests to change."""

    def __init__(self, inner: OnnxEncoder) -> None:
        self.inner = inner

    @property
    def spec(self) -> EncoderSpec:
        return self.inner.spec

    @property
    def batch_size(self) -> int:
        return self.inner.batch_size

    def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
        return self.inner.prepare(image, limits)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.inner.infer(batch)

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.inner.finish(raw)

    def warm_up(self) -> None:
        self.inner.warm_up()


class Blind(Sighted):
    """It sees nothing in every second picture."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        raw = super().infer(batch)
        raw[::2] = np.nan
        return raw


def test_a_picture_without_a_vector_is_rejected(encoder: OnnxEncoder) -> None:
    (batch,) = embed(asked(4), Blind(encoder), read=read)

    assert batch.keys == ("key-1", "key-3")
    assert np.isfinite(batch.vectors).all()
    assert [(reject.key, reject.stage, reject.reason) for reject in batch.rejects] == [
        ("key-0", "encode", "no_vector"),
        ("key-2", "encode", "no_vector"),
    ]


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_looks_ahead_but_not_far(encoder: OnnxEncoder) -> None:
    taken = 0
    running, most = 0, 0
    lock = threading.Lock()

    def endless() -> Iterator[ImageToEmbed]:
        nonlocal taken
        while True:
            taken += 1
            yield ImageToEmbed(str(taken), "1.png")

    def counted(reference: str) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return read(reference)

    batches = embed(endless(), encoder, read=counted, batch_size=4, decode_threads=3)
    for _ in range(5):
        next(batches)

    assert taken <= 5 * 4 + 2 * 4
    assert most <= 3
    assert decoders()
    batches.close()  # type: ignore[attr-defined]
    assert not decoders()


def test_waiting_for_many_pictures_decodes_no_more_at_a_time(encoder: OnnxEncoder) -> None:
    """What lies far away is waited for by many threads; on a machine with many workers, few of them may compute."""
    together = threading.Barrier(12)
    running, most = 0, 0
    lock = threading.Lock()

    class Slow(Sighted):
        def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.005)
            with lock:
                running -= 1
            return super().prepare(image, limits)

    def far_away(reference: str) -> bytes:
        together.wait(10)
        return read(reference)

    batches = list(embed(asked(24), Slow(encoder), read=far_away, batch_size=8, decode_threads=2, read_threads=12))

    assert keys(batches) == [image.key for image in asked(24)]
    assert most == 2


def test_no_thread_stays_behind(encoder: OnnxEncoder) -> None:
    for _ in embed(asked(50), encoder, read=read, batch_size=4):
        break
    assert not decoders()

    list(embed(asked(5), encoder, read=read))
    assert not decoders()


def test_a_bug_in_the_reader_is_not_hidden(encoder: OnnxEncoder) -> None:
    def broken(reference: str) -> bytes:
        raise KeyError(reference)

    with pytest.raises(KeyError):
        list(embed(asked(3), encoder, read=broken))
    assert not decoders()


def test_from_files(tmp_path: Path, encoder: OnnxEncoder) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    images = [ImageToEmbed("a", str(tmp_path / "a.png")), ImageToEmbed("b", str(tmp_path / "b.png"))]

    (batch,) = embed(images, encoder, read=lambda reference: Path(reference).read_bytes())

    assert batch.keys == ("a",)
    assert [type(reject) for reject in batch.rejects] == [Reject]
