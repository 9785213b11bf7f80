"""The batcher, with encoders that are slow, broken, or broken by one picture only."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.serving.background import supervise
from lookalike.serving.encode.batcher import Batcher
from lookalike.serving.encode.embedder import infer_pictures
from lookalike.serving.errors import ProblemError
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.encoders.base import Encoder

BAD = 255

Pictures = Batcher[Encoder, NDArray[np.uint8]]


class Spec:
    dimension = 1


class Recorder:
    """Gives each picture's first pixel as its vector, and remembers the batches."""

    spec = Spec()

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self.seconds = seconds
        self.free = threading.Event()
        self.free.set()

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.free.wait(10)
        time.sleep(self.seconds)
        values = batch.reshape(len(batch), -1)[:, 0]
        self.batches.append([int(value) for value in values])
        if BAD in values:
            raise RuntimeError("this picture breaks the model")
        return values.astype(np.float32)[:, None]

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        return raw


def flat(encoder: Recorder) -> list[int]:
    return [value for batch in encoder.batches for value in batch]


def pixels(value: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 3), value, np.uint8)


def run(
    work: Any,
    *,
    max_batch: int = 4,
    max_queue: int = 100,
    wait_seconds: float = 0.0,
    metrics: Metrics | None = None,
    lanes: int = 1,
) -> Any:
    async def main() -> Any:
        batcher = Batcher(
            infer_pictures,
            max_batch=max_batch,
            max_queue=max_queue,
            wait_seconds=wait_seconds,
            metrics=(metrics or Metrics()).picture_batches,
            lanes=lanes,
        )
        task = asyncio.create_task(supervise("batcher", batcher.run))
        try:
            return await asyncio.wait_for(work(batcher), 10)
        finally:
            task.cancel()
            batcher.close()

    return asyncio.run(main())


def encode(batcher: Pictures, encoder: Recorder, value: int, seconds: float = 10.0) -> Coroutine[Any, Any, Any]:
    return batcher.encode(cast("Encoder", encoder), pixels(value), deadline=time.monotonic() + seconds)


async def gather(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


def test_each_item_gets_its_own_vector_in_full_batches() -> None:
    encoder = Recorder()

    async def work(batcher: Pictures) -> list[Any]:
        return await gather(*(encode(batcher, encoder, value) for value in range(10)))

    assert [float(vector[0]) for vector in run(work)] == list(range(10))
    assert flat(encoder) == list(range(10))
    assert max(len(batch) for batch in encoder.batches) == 4


def test_an_idle_model_does_not_wait_for_more() -> None:
    encoder = Recorder()

    async def work(batcher: Pictures) -> float:
        await encode(batcher, encoder, 1)
        start = time.monotonic()
        await encode(batcher, encoder, 2)
        return time.monotonic() - start

    assert run(work) < 2
    assert encoder.batches == [[1], [2]]


def test_as_many_batches_at_a_time_as_there_are_lanes() -> None:
    encoder, together = Recorder(), threading.Barrier(2)
    record = encoder.infer

    def infer(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        together.wait(5)  # breaks unless another batch is encoded meanwhile
        return record(batch)

    encoder.infer = infer  # type: ignore[method-assign]

    async def work(batcher: Pictures) -> list[Any]:
        return await gather(*(encode(batcher, encoder, value) for value in range(4)))

    assert [float(vector[0]) for vector in run(work, max_batch=1, lanes=2)] == [0, 1, 2, 3]


def test_only_the_culprit_fails() -> None:
    encoder = Recorder()

    async def work(batcher: Pictures) -> list[Any]:
        return await gather(*(encode(batcher, encoder, value) for value in (1, BAD, 3)))

    first, culprit, third = run(work)
    assert (first[0], third[0]) == (1, 3)
    assert isinstance(culprit, ProblemError)
    assert culprit.code == "internal"


def test_a_model_that_gives_the_wrong_number_of_vectors_fails() -> None:
    class Short(Recorder):
        def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
            return raw[:0]

    async def work(batcher: Pictures) -> list[Any]:
        return await gather(*(encode(batcher, Short(), value) for value in (1, 2)))

    assert all(isinstance(result, ProblemError) for result in run(work))


def test_a_batch_never_mixes_encoders() -> None:
    first, second = Recorder(), Recorder()

    async def work(batcher: Pictures) -> list[Any]:
        return await gather(*(encode(batcher, (first, second)[value % 2], value) for value in range(8)))

    assert [float(vector[0]) for vector in run(work)] == list(range(8))
    assert flat(first) == [0, 2, 4, 6]
    assert flat(second) == [1, 3, 5, 7]


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    encoder = Recorder()
    encoder.free.clear()

    async def work(batcher: Pictures) -> list[Any]:
        waiting = [asyncio.ensure_future(encode(batcher, encoder, value)) for value in range(4)]
        await asyncio.sleep(0.1)  # one batch of one to four is with the model
        more = [asyncio.ensure_future(encode(batcher, encoder, value)) for value in range(6)]
        await asyncio.sleep(0.05)
        encoder.free.set()
        return await asyncio.gather(*waiting, *more, return_exceptions=True)

    results = run(work, max_queue=3)
    refused = [result for result in results if isinstance(result, ProblemError)]
    assert refused
    assert all(problem.code == "overloaded" and (problem.retry_after or 0) >= 1 for problem in refused)
    assert len(results) - len(refused) >= 4


def test_expired_and_cancelled_items_are_dropped() -> None:
    encoder = Recorder()
    encoder.free.clear()

    async def work(batcher: Pictures) -> list[Any]:
        first = asyncio.ensure_future(encode(batcher, encoder, 1))
        await asyncio.sleep(0.05)
        expired = asyncio.ensure_future(encode(batcher, encoder, 2, seconds=0.01))
        cancelled = asyncio.ensure_future(encode(batcher, encoder, 3))
        last = asyncio.ensure_future(encode(batcher, encoder, 4))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        encoder.free.set()
        return list(await asyncio.gather(first, expired, last, return_exceptions=True))

    first, expired, last = run(work)
    assert (first[0], last[0]) == (1, 4)
    assert expired.code == "deadline_exceeded"
    assert encoder.batches == [[1], [4]]


def test_it_survives_its_own_bugs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    encoder, metrics, broken = Recorder(), Metrics(), asyncio.Event()

    def breaks_once(_reason: str) -> None:
        broken.set()
        monkeypatch.undo()
        raise RuntimeError("a bug")

    monkeypatch.setattr(metrics.released, "labels", breaks_once)

    async def work(batcher: Pictures) -> Any:
        lost = asyncio.ensure_future(encode(batcher, encoder, 4))
        await broken.wait()
        lost.cancel()
        return await encode(batcher, encoder, 5)

    assert run(work, metrics=metrics)[0] == 5
    assert "batcher failed" in caplog.text


def released(metrics: Metrics) -> dict[str, float]:
    samples = [sample for family in metrics.families() for sample in family.samples]
    name = "lookalike_batches_released_total"
    return {sample.labels["reason"]: sample.value for sample in samples if sample.name == name and sample.value}


def test_the_oldest_waits_its_time_for_a_fuller_batch() -> None:
    encoder, metrics = Recorder(), Metrics()

    async def work(batcher: Pictures) -> float:
        start = time.monotonic()
        first = asyncio.ensure_future(encode(batcher, encoder, 1))
        await asyncio.sleep(0.6)
        assert 0.5 < batcher.oldest_wait() < 1
        await asyncio.gather(first, encode(batcher, encoder, 2))
        assert batcher.oldest_wait() == 0
        return time.monotonic() - start

    assert 1 <= run(work, wait_seconds=1.0, metrics=metrics) < 1.5
    assert (encoder.batches, released(metrics)) == ([[1, 2]], {"waited": 1})


def test_a_full_batch_goes_at_once() -> None:
    encoder, metrics = Recorder(), Metrics()

    async def work(batcher: Pictures) -> float:
        start = time.monotonic()
        await asyncio.gather(*(encode(batcher, encoder, value) for value in range(4)))
        return time.monotonic() - start

    assert run(work, wait_seconds=5.0, metrics=metrics) < 4
    assert (encoder.batches, released(metrics)) == ([[0, 1, 2, 3]], {"full": 1})


def test_why_batches_go_is_counted() -> None:
    encoder, metrics = Recorder(), Metrics()

    async def work(batcher: Pictures) -> None:
        await asyncio.gather(*(encode(batcher, encoder, value) for value in range(6)))

    run(work, metrics=metrics)
    assert released(metrics) == {"full": 1, "idle": 1}


def test_who_leaves_a_batch_that_waits_leaves_the_others_their_time() -> None:
    encoder = Recorder()

    async def work(batcher: Pictures) -> Any:
        gone = asyncio.ensure_future(encode(batcher, encoder, 1))
        await asyncio.sleep(0.02)
        gone.cancel()
        return await encode(batcher, encoder, 2)

    assert run(work, wait_seconds=0.5)[0] == 2
    assert encoder.batches == [[2]]


def test_an_idle_batcher_does_not_spin() -> None:
    async def work(batcher: Pictures) -> float:
        await encode(batcher, Recorder(), 1)
        start = time.process_time()
        await asyncio.sleep(0.3)
        return time.process_time() - start

    assert run(work) < 0.1
