"""Run an exported encoder with OpenVINO, which computes in 8 bits and in bfloat16 faster than ONNX Runtime."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.precision.names import Precision

_TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model, as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[int | str]


class OpenVinoSession:
    """A model in OpenVINO, with what encoders use of ONNX Runtime's sessions. `run` may be called from many threads.

    `batches` run at a time, each on `threads`; more wait. Raises `EncoderError` if the model cannot be loaded, and
    where OpenVINO is not installed.
    """

    def __init__(self, model: Path | bytes, threads: int, batches: int, precision: Precision) -> None:
        core = _import_openvino(precision).Core()
        settings = {
            "NUM_STREAMS": batches,
            "INFERENCE_NUM_THREADS": threads * batches,
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "ENABLE_CPU_PINNING": False,  # two workers of one machine would take the same core
        }
        try:
            read = core.read_model(str(model) if isinstance(model, Path) else model)
            self._compiled = core.compile_model(read, "CPU", settings)
        except Exception as error:  # OpenVINO's own classes share no base
            raise EncoderError(f"the encoder's model cannot be loaded by OpenVINO: {error}") from error
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def get_inputs(self) -> list[Tensor]:
        return [tensor for port in self._compiled.inputs for tensor in _describe(port)]

    def get_outputs(self) -> list[Tensor]:
        return [tensor for port in self._compiled.outputs for tensor in _describe(port)]

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the named outputs of a batch, copied: the next batch overwrites OpenVINO's own."""
        with self._borrow_request() as request:
            found = request.infer(dict(inputs))
            return [np.array(found[name]) for name in outputs]

    @contextmanager
    def _borrow_request(self) -> Iterator[Any]:
        """Lend what holds the tensors of one batch: each is for one thread at a time."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            yield request
        finally:
            self._idle.put(request)


def is_installed() -> bool:
    """Tell whether this environment has the extra `openvino`, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def _import_openvino(precision: Precision) -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise EncoderError(
            f"an encoder in {precision} needs OpenVINO: install the `openvino` extra on workers and servers, or "
            "reindex with --precision float32"
        ) from error


def _describe(port: Any) -> list[Tensor]:
    """Return a tensor under each of its names: what OpenVINO has fused keeps the names of all parts."""
    shape = ["n" if side.is_dynamic else side.get_length() for side in port.partial_shape]
    given = port.element_type.get_type_name()
    return [Tensor(name, _TYPES.get(given, given), shape) for name in port.names]
