"""The text embedder: from a query's text to its vector, beside the pictures' queue and not in it.

Vectors of the last texts are kept, as shoppers ask for the same things.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from lookalike.serving.background import SingleFlight
from lookalike.serving.encode.batcher import Batcher
from lookalike.serving.errors import ProblemError
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.encoders.texts.base import TextEncoder, Tokens

MAX_BATCH = 16  # texts at a time: each shares the reading of weights, and a query is short

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Key:
    """What decides a vector: the tokens, and the encoder."""

    ids: tuple[int, ...]
    fingerprint: str


class TextEmbedder:
    """Encodes texts in batches of their own, and remembers the vectors of the last ones."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._batcher: Batcher[TextEncoder, Tokens] = Batcher(
            infer_texts,
            max_batch=MAX_BATCH,
            max_queue=settings.batching.queue_size,
            metrics=metrics.text_batches,
            lanes=settings.share_of_processors,
        )
        self._in_flight: SingleFlight[_Key, Vectors] = SingleFlight()
        self._cache: LRUCache[_Key, Vectors] = LRUCache(settings.batching.cached_texts)

    async def embed(self, encoder: TextEncoder, text: str, *, deadline: float) -> Vectors | None:
        """Return a text's (dimension,) vector, which nobody may change; None where the encoder knows nothing of it.

        `deadline` is on the monotonic clock. Raises `ProblemError`.
        """
        tokens = encoder.prepare(text)
        if not tokens.known:
            return None
        key = _Key(tokens.ids, encoder.spec.fingerprint)
        if (cached := self._cache.get(key)) is not None:
            self._metrics.text_vectors.labels("cached").inc()
            return cached
        self._metrics.text_vectors.labels("shared" if key in self._in_flight else "encoded").inc()
        while True:
            try:
                return await self._in_flight.join(key, lambda: self._encode_and_keep(encoder, tokens, key, deadline))
            except ProblemError as problem:
                if problem.code != "deadline_exceeded" or time.monotonic() >= deadline:
                    raise  # else it was the time of whoever asked first that ran out

    async def run(self) -> None:
        """Encode for ever what arrives."""
        await self._batcher.run()

    def close(self) -> None:
        """Let the threads go."""
        self._batcher.close()

    async def _encode_and_keep(self, encoder: TextEncoder, tokens: Tokens, key: _Key, deadline: float) -> Vectors:
        vector = (await self._batcher.encode(encoder, tokens, deadline=deadline)).copy()  # a row would keep the batch
        vector.setflags(write=False)
        if self._cache.maxsize >= 1:  # else nothing is kept
            self._cache[key] = vector
        return vector


def infer_texts(encoder: TextEncoder, texts: Sequence[Tokens]) -> Vectors:
    """Return the (n, dimension) vectors of prepared texts."""
    return encoder.finish(encoder.infer(list(texts)))
