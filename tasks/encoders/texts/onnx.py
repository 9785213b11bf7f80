"""Run a text encoder with ONNX Runtime on the CPU: the same code for titles and for queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import scale_to_unit_length
from lookalike.tasks.encoders.onnx import Sessions
from lookalike.tasks.encoders.texts.base import TextSpec, Tokens
from lookalike.tasks.encoders.texts.tokenizers import open_tokenizer

BATCH_SIZE = 32

_Integers = NDArray[np.int64]


class OnnxTextEncoder:
    """A text encoder on ONNX Runtime. `infer` may be called from many threads; a batch is computed by `threads`.

    Raises `EncoderError` if the model cannot be loaded, or if model and vocabulary are not those of the spec.
    """

    def __init__(self, model: Path | bytes, vocabulary: bytes, spec: TextSpec, *, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._spec = spec
        self._tokenizer = open_tokenizer(vocabulary, spec)
        self._sessions = Sessions(model, threads, spread=False)
        _check_model(self._sessions.wide, spec)

    @property
    def spec(self) -> TextSpec:
        return self._spec

    @property
    def batch_size(self) -> int:
        return BATCH_SIZE

    def prepare(self, text: str) -> Tokens:
        """Cut a text into tokens. Any string will do, in bounded time. Safe in many threads."""
        return self._tokenizer(text)

    def infer(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Run the model and pool: n texts to float32 (n, dimension), n at least 1."""
        ids, mask = self._pad(batch)
        raw = self._sessions.run(self._spec.output_name, self._feed(ids, mask))
        return _pool(raw, mask, self._spec)

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale float32 (n, dimension) to length 1. A vector without a direction becomes all zeros, never NaN."""
        return scale_to_unit_length(raw)

    def warm_up(self) -> None:
        """Run one text, so that memory is allocated and pages are touched before the first query."""
        ids, mask = self._pad([self.prepare("warm up")])
        self._sessions.warm_up(self._spec.output_name, self._feed(ids, mask))

    def _pad(self, batch: Sequence[Tokens]) -> tuple[_Integers, _Integers]:
        """Return ids and mask, (n, tokens), of texts that may differ in length."""
        longest = self._spec.most_tokens if self._spec.padded else max(len(one.ids) for one in batch)
        ids = np.full((len(batch), longest), self._tokenizer.padding, dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.int64)
        for row, one in enumerate(batch):
            ids[row, : len(one.ids)] = one.ids
            mask[row, : len(one.ids)] = 1
        return ids, mask

    def _feed(self, ids: _Integers, mask: _Integers) -> dict[str, _Integers]:
        inputs = {self._spec.ids_name: ids}
        if self._spec.mask_name:
            inputs[self._spec.mask_name] = mask
        if self._spec.types_name:
            inputs[self._spec.types_name] = np.zeros_like(ids)
        return inputs


def _pool(raw: NDArray[np.float32], mask: _Integers, spec: TextSpec) -> NDArray[np.float32]:
    if spec.pooling == "none":
        return raw
    if spec.pooling == "first":
        return np.ascontiguousarray(raw[:, 0])
    kept = mask[:, :, None].astype(np.float32)
    return np.asarray((raw * kept).sum(axis=1) / kept.sum(axis=1), dtype=np.float32)


def _check_model(session: Any, spec: TextSpec) -> None:
    """Raise `EncoderError` for a model that does not fit its spec: it would fail on queries."""
    inputs = {tensor.name for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    wanted = {name for name in (spec.ids_name, spec.mask_name, spec.types_name) if name}
    if inputs != wanted:
        raise EncoderError(f"{spec.name}: the model takes {sorted(inputs)}, the spec says {sorted(wanted)}")
    if spec.output_name not in outputs:
        raise EncoderError(f"{spec.name}: the model gives {sorted(outputs)}, the spec says {spec.output_name!r}")
    shape = outputs[spec.output_name].shape
    axes = 2 if spec.pooling == "none" else 3
    if len(shape) != axes or shape[-1] != spec.dimension:
        raise EncoderError(
            f"{spec.name}: {spec.output_name!r} is {shape}, the spec says {axes} axes, the last of {spec.dimension}"
        )
    if isinstance(shape[0], int):
        raise EncoderError(f"{spec.name}: {spec.output_name!r} only has batches of {shape[0]}; export it with any n")
