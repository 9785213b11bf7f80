"""The embedder: the same picture is encoded once at a time, remembered by setting, and nobody waits for another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.data.errors import ImageRejectedError
from lookalike.serving.background import SingleFlight, supervise
from lookalike.serving.encode.embedder import Embedder
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.query import Crop, Picture
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.images.decode import DEFAULT_LIMITS, ImageLimits
from tests.serving.conftest import Serve, make_settings
from tests.support.shop import OtherEncoder, Shop, picture

FAR = float("inf")


class Counting(OnnxEncoder):
    """The fake encoder, which counts what is decoded and encoded, and can be held up."""

    def __init__(self, folder: Path, kind: type[FakeEncoder] = FakeEncoder) -> None:
        folder.mkdir(exist_ok=True)
        spec = kind().export(folder)
        super().__init__(folder / "model.onnx", spec, threads=1)
        self.decoded = 0
        self.encoded = 0
        self.busy = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def prepare(self, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
        self.decoded += 1
        return super().prepare(image, limits)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.busy.set()
        self.free.wait(10)
        self.encoded += len(batch)
        return super().infer(batch)


@pytest.fixture
def encoder(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "encoder")


def run(work: Any, folder: Path, metrics: Metrics | None = None, **batching: Any) -> Any:
    async def main() -> Any:
        embedder = Embedder(make_settings(folder, batching={"lanes": 1, **batching}), metrics or Metrics())
        task = asyncio.create_task(supervise("batcher", embedder.run))
        try:
            return await asyncio.wait_for(work(embedder), 10)
        finally:
            task.cancel()
            embedder.close()

    return asyncio.run(main())


async def gather(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


def test_identical_pictures_in_flight_are_encoded_once(encoder: Counting, tmp_path: Path) -> None:
    metrics = Metrics()

    async def work(embedder: Embedder) -> list[Any]:
        same = [embedder.embed(encoder, Picture(bytes(picture(1))), deadline=FAR) for _ in range(8)]
        return await gather(*same, embedder.embed(encoder, Picture(picture(2)), deadline=FAR))

    vectors = run(work, tmp_path, metrics, cached_vectors=0)
    assert (encoder.decoded, encoder.encoded) == (2, 2)
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors[:8])
    assert not np.array_equal(vectors[0], vectors[8])
    assert b'lookalike_query_vectors_total{source="shared"} 7.0' in metrics.render()
    assert b'lookalike_query_vectors_total{source="encoded"} 2.0' in metrics.render()


def test_crop_and_encoder_are_part_of_what_is_the_same(encoder: Counting, tmp_path: Path) -> None:
    other = Counting(tmp_path / "other", OtherEncoder)
    half = Crop(0, 0, 0.5, 1)

    async def work(embedder: Embedder) -> list[Any]:
        asked = [(encoder, None), (encoder, half), (other, None), (encoder, Crop(0, 0, 0.5, 1)), (encoder, None)]
        return await gather(*(embedder.embed(one, Picture(picture(1), crop), deadline=FAR) for one, crop in asked))

    whole, part, elsewhere, part_again, whole_again = run(work, tmp_path)
    assert (encoder.encoded, other.encoded) == (2, 1)
    assert np.array_equal(whole, whole_again)
    assert np.array_equal(part, part_again)
    assert not np.array_equal(whole, part)
    assert np.array_equal(whole, elsewhere)


def test_what_could_not_be_done_in_time_is_refused_at_once(
    encoder: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a picture is taken to need 2 seconds, until one was measured, two may be ahead in half of 10."""
    monkeypatch.setattr("lookalike.serving.encode.batcher.FIRST_GUESS_SECONDS", 2.0)
    metrics = Metrics()
    encoder.free.clear()

    async def work(embedder: Embedder) -> list[Any]:
        deadline = time.monotonic() + 10
        asked = [
            asyncio.ensure_future(embedder.embed(encoder, Picture(picture(n)), deadline=deadline)) for n in range(7)
        ]
        patient = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(9)), deadline=FAR))
        await asyncio.wait(asked, timeout=1)  # which those that were not refused do not end in
        refused: list[Any] = [one.exception() for one in asked if one.done()]
        encoder.free.set()
        assert len(await patient) == encoder.spec.dimension
        await asyncio.gather(*asked, return_exceptions=True)
        return refused

    refused = run(work, tmp_path, metrics)
    assert [problem.code for problem in refused] == ["overloaded"] * 4
    assert all(problem.retry_after >= 1 for problem in refused)
    assert b"lookalike_overloaded_total 4.0" in metrics.render()


def test_a_time_that_has_run_out_is_no_overload(encoder: Counting, tmp_path: Path) -> None:
    metrics = Metrics()

    async def work(embedder: Embedder) -> list[Any]:
        return await gather(embedder.embed(encoder, Picture(picture(8)), deadline=time.monotonic()))

    (refused,) = run(work, tmp_path, metrics)
    assert refused.code == "deadline_exceeded"
    assert encoder.decoded == 0
    assert b"lookalike_overloaded_total 0.0" in metrics.render()


@pytest.mark.parametrize(("size", "encoded"), [(0, 6), (1, 4), (2, 2), (100, 2)])
def test_vectors_are_remembered_by_setting(encoder: Counting, tmp_path: Path, size: int, encoded: int) -> None:
    async def work(embedder: Embedder) -> None:
        for seed in (1, 1, 2, 1, 2, 2):
            await embedder.embed(encoder, Picture(picture(seed)), deadline=FAR)

    run(work, tmp_path, cached_vectors=size)
    assert encoder.encoded == encoded


def test_what_is_remembered_is_bounded_and_cannot_be_changed(encoder: Counting, tmp_path: Path) -> None:
    async def work(embedder: Embedder) -> Any:
        for seed in (1, 2, 3, 1):
            vector = await embedder.embed(encoder, Picture(picture(seed)), deadline=FAR)
        return vector

    vector = run(work, tmp_path, cached_vectors=2)
    assert encoder.encoded == 4
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 5


def test_one_who_leaves_takes_nothing_from_the_others(encoder: Counting, tmp_path: Path) -> None:
    encoder.free.clear()

    async def work(embedder: Embedder) -> Any:
        first = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(1)), deadline=FAR))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(1)), deadline=FAR))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.sleep(0.05)
        encoder.free.set()
        return await second

    assert run(work, tmp_path).shape == (192,)
    assert encoder.encoded == 1


def test_when_all_have_left_the_work_is_dropped(encoder: Counting, tmp_path: Path) -> None:
    encoder.free.clear()

    async def work(embedder: Embedder) -> None:
        busy = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(9)), deadline=FAR))
        await asyncio.to_thread(encoder.busy.wait, 10)
        asked = [asyncio.ensure_future(embedder.embed(encoder, Picture(picture(1)), deadline=FAR)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for one in asked:
            one.cancel()
        await asyncio.sleep(0.05)
        encoder.free.set()
        await busy
        await embedder.embed(encoder, Picture(picture(2)), deadline=FAR)

    run(work, tmp_path)
    assert encoder.encoded == 2


def test_the_short_time_of_one_is_not_that_of_another(encoder: Counting, tmp_path: Path) -> None:
    encoder.free.clear()

    async def work(embedder: Embedder) -> Any:
        busy = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(9)), deadline=FAR))
        await asyncio.to_thread(encoder.busy.wait, 10)
        soon = time.monotonic() + 0.05
        hasty = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(1)), deadline=soon))
        await asyncio.sleep(0.02)
        patient = asyncio.ensure_future(embedder.embed(encoder, Picture(picture(1)), deadline=FAR))
        await asyncio.sleep(0.1)
        encoder.free.set()
        await busy
        return await asyncio.gather(hasty, patient, return_exceptions=True)

    hasty, patient = run(work, tmp_path)
    assert isinstance(hasty, ProblemError)
    assert hasty.code == "deadline_exceeded"
    assert patient.shape == (192,)


def test_a_bad_picture_fails_for_all_who_sent_it_and_is_not_remembered(encoder: Counting, tmp_path: Path) -> None:
    async def work(embedder: Embedder) -> list[Any]:
        bad = [embedder.embed(encoder, Picture(picture(1)[:60]), deadline=FAR) for _ in range(3)]
        first = await gather(*bad, embedder.embed(encoder, Picture(picture(1)), deadline=FAR))
        return first + await gather(embedder.embed(encoder, Picture(picture(1)[:60]), deadline=FAR))

    *bad, good, again = run(work, tmp_path)
    assert all(isinstance(error, ImageRejectedError) for error in (*bad, again))
    assert good.shape == (192,)


def test_a_proof_is_never_remembered(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose model fails must not call itself ready because it knows the answer by heart."""
    from lookalike.serving.live.loaded import BLANK

    shop.publish(8)
    client = serve(probe_seconds=0.1)
    client.wait(lambda state: state["ready"])
    assert client.post("/v1/search", files={"image": ("x.png", BLANK)}).status_code == 200

    def fail(batch: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(client.loaded.searcher.encoder, "infer", fail)
    assert client.post("/v1/search", files={"image": ("x.png", BLANK)}).status_code == 200
    client.wait(lambda state: not state["ready"])


def test_a_flight_that_failed_is_not_joined_again() -> None:
    started = []

    async def fly() -> int:
        started.append(1)
        await asyncio.sleep(0)
        if len(started) == 1:
            raise RuntimeError("lost")
        return len(started)

    async def main() -> list[Any]:
        flights: SingleFlight[str, int] = SingleFlight()
        first = await gather(flights.join("a", fly), flights.join("a", fly))
        second = await gather(flights.join("a", fly), flights.join("a", fly), flights.join("b", fly))
        assert len(flights) == 0
        return first + second

    *lost, two, also_two, other = asyncio.run(main())
    assert [str(error) for error in lost] == ["lost", "lost"]
    assert two == also_two == other == 3
    assert len(started) == 3
