"""Run an encoder's own network with torch on a GPU: for embedding catalogues, never where a query runs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import EncoderSource, EncoderSpec, SpecEncoder
from lookalike.tasks.encoders.onnx import OnnxEncoder

BATCH_SIZE = 64


class TorchEncoder(SpecEncoder):
    """An encoder on torch, in half precision where that is exact enough. Only one thread at a time may call `infer`.

    Operations that need single precision keep it (`torch.autocast`). A batch that does not fit into the device's memory
    is halved until it does.
    """

    def __init__(
        self, network: nn.Module, spec: EncoderSpec, *, device: str = "cuda", dtype: torch.dtype = torch.float16
    ) -> None:
        super().__init__(spec)
        self._device = torch.device(device)
        self._dtype = dtype
        self._network = network.eval().to(self._device).to(memory_format=torch.channels_last)

    @property
    def batch_size(self) -> int:
        return BATCH_SIZE

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network: uint8 (n, size, size, 3) to float32 (n, dimension), n at least 1."""
        try:
            return self._infer(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return np.concatenate([self.infer(batch[:half]), self.infer(batch[half:])])

    def warm_up(self) -> None:
        """Run one blank batch, so that memory is allocated and kernels are chosen before the first picture."""
        size = self._spec.preprocessing.size
        self.infer(np.full((BATCH_SIZE, size, size, 3), 255, dtype=np.uint8))

    def _infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(batch)
        if self._device.type == "cuda":
            pixels = pixels.pin_memory()  # the device copies from pinned memory by itself, and faster
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype):
            vectors = self._network(pixels.to(self._device, non_blocking=True))
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def open_on_gpu(source: EncoderSource, stored: OnnxEncoder) -> TorchEncoder:
    """Return an encoder on this machine's GPU that gives the same vectors as the stored one.

    Raises `EncoderError` where there is no GPU, where the source has no network or another version of the encoder, or
    where the vectors differ.
    """
    if not torch.cuda.is_available():
        raise EncoderError(
            "LOOKALIKE_EMBED_DEVICE is cuda, and torch finds no GPU on this worker: "
            "give only workers that have one to embedding (LOOKALIKE_DASK_EMBED_RESOURCES=GPU=1), or set it to cpu"
        )
    return check_same_vectors(TorchEncoder(build_network(source, stored.spec), stored.spec), stored)


def build_network(source: EncoderSource, spec: EncoderSpec) -> nn.Module:
    """Build a source's network. Raises `EncoderError` where it is not the network that was exported as `spec`."""
    make = getattr(source, "network", None)
    if make is None:
        raise EncoderError(f"{source.name} has no `network` that torch can run: set LOOKALIKE_EMBED_DEVICE=cpu")
    if source.fingerprint() != spec.fingerprint:
        raise EncoderError(
            f"{source.name} is another version on this worker ({source.fingerprint()}) than in the store "
            f"({spec.fingerprint}): install the same release of Lookalike and of the weights everywhere"
        )
    network: nn.Module = make()
    return network


def check_same_vectors(encoder: TorchEncoder, stored: OnnxEncoder) -> TorchEncoder:
    """Return the encoder. Raises `EncoderError` if its vectors of real pictures differ from the stored one's."""
    least = export.measure_least_cosine(stored, encoder)
    if not least >= export.PARITY:
        raise EncoderError(
            f"{encoder.spec.name}: torch's vectors on this device differ from ONNX Runtime's (cosine {least:.5f}, "
            f"needs {export.PARITY}): set LOOKALIKE_EMBED_DEVICE=cpu"
        )
    return encoder
