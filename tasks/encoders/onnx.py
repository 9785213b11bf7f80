"""Run an exported encoder on the CPU: the same code for the catalogue and for queries.

ONNX Runtime runs it, and OpenVINO where that is faster: in 8 bits, if it is installed, and in bfloat16.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import openvino
from lookalike.tasks.encoders.base import EncoderSpec, SpecEncoder
from lookalike.tasks.encoders.precision.names import Precision

_VNNI = {"avx512_vnni", "avx_vnni"}

BATCH_SIZE = 8
"""The activations of so many pictures fit into a core's cache: 10 % faster than 32 pictures, in half the memory."""


class OnnxEncoder(SpecEncoder):
    """An encoder on ONNX Runtime or OpenVINO. `infer` may be called from many threads.

    `threads` is how many the model uses for one batch. It is set on the session itself, because Dask's nanny
    sets OMP_NUM_THREADS=1 for everything else in a worker. With `spread`, each batch gets one thread while `threads`
    or more batches run at a time, because the threads of one batch wait for each other and other batches could use the
    processors. This holds the model in memory twice.
    Raises `EncoderError` if the model cannot be loaded, is not the one that the spec describes, or computes in 8 bits
    on a processor that would give other vectors.
    """

    def __init__(self, model: Path | bytes, spec: EncoderSpec, *, threads: int, spread: bool = False) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        super().__init__(spec)
        _check_processor(spec)
        self._sessions = Sessions(model, threads, spread=spread, precision=spec.precision)
        _check_model(self._sessions.wide, spec)

    @property
    def batch_size(self) -> int:
        return BATCH_SIZE

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the model: uint8 (n, size, size, 3) to float32 (n, dimension). Raises `ValueError` for other shapes."""
        size = self._spec.preprocessing.size
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != (size, size, 3) or not len(batch):
            raise ValueError(f"expected uint8 (n, {size}, {size}, 3), got {batch.dtype} {batch.shape}")
        return self._sessions.run(self._spec.output_name, {self._spec.input_name: batch})

    def warm_up(self) -> None:
        """Run blank pictures, so that memory is allocated and pages are touched before the first query.

        OpenVINO compiles the model once for each number of pictures, 40 to 80 ms: servers ask for one or two.
        """
        size = self._spec.preprocessing.size
        for count in (1,) if self._spec.precision == "float32" else (1, 2):
            blank = np.full((count, size, size, 3), 255, dtype=np.uint8)
            self._sessions.warm_up(self._spec.output_name, {self._spec.input_name: blank})


class Sessions:
    """One session with all threads, and with `spread` a second one with one thread, for many batches at a time."""

    def __init__(self, model: Path | bytes, threads: int, *, spread: bool, precision: Precision = "float32") -> None:
        self.wide = _open(model, precision, threads, 1)
        self._narrow = _open(model, precision, 1, threads) if spread and threads > 1 else self.wide
        self._threads = threads
        self._running = 0
        self._lock = threading.Lock()

    def run(self, output: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Run a batch: with all threads, or with one where many batches run at this moment."""
        with self._lock:
            self._running += 1
            session = self.wide if self._running < self._threads else self._narrow
        try:
            return np.asarray(session.run([output], inputs)[0], dtype=np.float32)
        finally:
            with self._lock:
                self._running -= 1

    def warm_up(self, output: str, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Run a batch on both sessions."""
        for session in {self.wide, self._narrow}:
            session.run([output], inputs)


def _open(model: Path | bytes, precision: Precision, threads: int, batches: int) -> Any:
    """Open a model for so many batches at a time, each on so many threads. Raises `EncoderError`."""
    if precision == "bfloat16" or (precision == "int8" and openvino.is_installed()):
        return openvino.OpenVinoSession(model, threads, batches, precision)
    return open_session(model, threads)  # a batch on one thread runs in that of its caller


def open_session(model: Path | bytes, threads: int) -> Any:
    """Open a model on the CPU. Raises `EncoderError` where ONNX Runtime cannot load it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    # spinning threads would take processor time from decoding, and waste it while a server is idle
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes share no base
        raise EncoderError(f"the encoder's model cannot be loaded: {error}") from error


def _check_processor(spec: EncoderSpec) -> None:
    if spec.precision == "int8" and not has_dot_products():
        raise EncoderError(
            f"{spec.name} computes in 8 bits, and this processor has no 8-bit dot products (VNNI): its sums would "
            "overflow, and give other vectors. Use one that has them, or reindex with --precision float32"
        )


@cache
def has_dot_products() -> bool:
    """Tell whether this processor adds products of 8-bit numbers without an overflow.

    On x86-64 that takes VNNI: without it ONNX Runtime adds pairs of them in 16 bits. Other processors need no check.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    processor = Path("/proc/cpuinfo")
    return processor.exists() and not _VNNI.isdisjoint(processor.read_text(encoding="utf-8").split())


def _check_model(session: Any, spec: EncoderSpec) -> None:
    """Raise `EncoderError` for a model that does not fit its spec: it would give wrong vectors, or fail on queries."""
    size = spec.preprocessing.size
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    if set(inputs) != {spec.input_name}:
        raise EncoderError(f"{spec.name}: the model takes {sorted(inputs)}, the spec says {spec.input_name!r}")
    if spec.output_name not in outputs:
        raise EncoderError(f"{spec.name}: the model gives {sorted(outputs)}, the spec says {spec.output_name!r}")
    _check_tensor(spec, inputs[spec.input_name], "tensor(uint8)", [size, size, 3])
    _check_tensor(spec, outputs[spec.output_name], "tensor(float)", [spec.dimension])


def _check_tensor(spec: EncoderSpec, tensor: Any, dtype: str, item: list[int]) -> None:
    batch, *shape = tensor.shape
    if tensor.type != dtype or shape != item:
        raise EncoderError(
            f"{spec.name}: {tensor.name!r} is {tensor.type} {tensor.shape}, the spec says {dtype} ['n', {item}]"
        )
    if isinstance(batch, int):
        raise EncoderError(f"{spec.name}: {tensor.name!r} only takes batches of {batch}; export it with any n")
