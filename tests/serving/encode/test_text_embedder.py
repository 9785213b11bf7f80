"""The text embedder: batches of their own, one encoding for the same text, and vectors that are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.serving.encode.text_embedder import TextEmbedder
from lookalike.serving.errors import ProblemError
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.encoders.texts.base import Tokens, encode_texts
from lookalike.tasks.encoders.texts.fake import FakeTextEncoder
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder


class Counting(OnnxTextEncoder):
    """Counts batches, and fails where it is told to."""

    def __init__(self, folder: Path) -> None:
        spec = FakeTextEncoder().export(folder)
        super().__init__(folder / "model.onnx", (folder / "vocab.txt").read_bytes(), spec, threads=1)
        self.batches: list[int] = []
        self.seconds = 0.0
        self.poison: Tokens | None = None

    def infer(self, batch: Any) -> Any:
        time.sleep(self.seconds)
        self.batches.append(len(batch))
        if self.poison in batch:
            raise RuntimeError("this text breaks the model")
        return super().infer(batch)


@pytest.fixture
def encoder(tmp_path: Path) -> Counting:
    return Counting(tmp_path)


def ask(work: Callable[[TextEmbedder], Awaitable[Any]], metrics: Metrics | None = None, **batching: int) -> Any:
    async def main() -> Any:
        settings = ServingSettings(store="/nowhere", batching={"lanes": 1, **batching})
        embedder = TextEmbedder(settings, metrics or Metrics())
        task = asyncio.create_task(embedder.run())
        try:
            return await asyncio.wait_for(work(embedder), 10)
        finally:
            task.cancel()
            embedder.close()

    return asyncio.run(main())


def soon() -> float:
    return time.monotonic() + 5


def count_vectors(metrics: Metrics) -> dict[str, float]:
    samples = [sample for family in metrics.families() for sample in family.samples]
    return {one.labels["source"]: one.value for one in samples if one.name == "lookalike_text_vectors_total"}


def test_a_text_is_encoded_once(encoder: Counting) -> None:
    metrics = Metrics()

    async def work(embedder: TextEmbedder) -> list[Any]:
        first = await asyncio.gather(*(embedder.embed(encoder, "red shoe", deadline=soon()) for _ in range(3)))
        return [*first, await embedder.embed(encoder, "Red  SHOE", deadline=soon())]

    found = ask(work, metrics)

    assert encoder.batches == [1]
    assert count_vectors(metrics) == {"encoded": 1, "shared": 2, "cached": 1}
    for vector in found:
        assert np.array_equal(vector, found[0])
    assert found[0] == pytest.approx(encode_texts(encoder, ["red shoe"])[0], abs=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        found[0][0] = 1.0


def test_what_comes_while_it_is_busy_is_one_batch(encoder: Counting) -> None:
    encoder.seconds = 0.05

    async def work(embedder: TextEmbedder) -> None:
        await asyncio.gather(*(embedder.embed(encoder, f"shoe {place}", deadline=soon()) for place in range(9)))

    ask(work)
    assert sum(encoder.batches) == 9
    assert len(encoder.batches) < 9


def test_nothing_is_kept_where_nobody_wants_it(encoder: Counting) -> None:
    async def work(embedder: TextEmbedder) -> None:
        for _ in range(2):
            await embedder.embed(encoder, "red shoe", deadline=soon())

    ask(work, cached_texts=0)
    assert encoder.batches == [1, 1]


def test_a_text_without_meaning_has_no_vector(encoder: Counting) -> None:
    async def work(embedder: TextEmbedder) -> Any:
        return await embedder.embed(encoder, "🦊", deadline=soon())

    assert ask(work) is None
    assert encoder.batches == []


def test_a_text_that_breaks_the_model_fails_alone(encoder: Counting) -> None:
    encoder.poison, encoder.seconds = encoder.prepare("bad text"), 0.05

    async def work(embedder: TextEmbedder) -> list[Any]:
        texts = ("first", "bad text", "other")
        return await asyncio.gather(
            *(embedder.embed(encoder, text, deadline=soon()) for text in texts), return_exceptions=True
        )

    first, bad, other = ask(work)
    assert isinstance(bad, ProblemError)
    assert bad.code == "internal"
    assert first is not None
    assert other is not None


def test_a_deadline_that_has_passed(encoder: Counting) -> None:
    async def work(embedder: TextEmbedder) -> None:
        await embedder.embed(encoder, "red shoe", deadline=time.monotonic() - 1)

    with pytest.raises(ProblemError) as caught:
        ask(work)
    assert caught.value.code == "deadline_exceeded"
