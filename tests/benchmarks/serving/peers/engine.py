"""The same model, projection, index and titles as the snapshot's, for servers that are measured beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from lookalike.tasks.encoders.base import EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder

MODEL, SPEC, INDEX, PROJECTION, PRODUCTS = "model.onnx", "spec.json", "index.faiss", "projection.npy", "products.json"


class Engine:
    """Everything a query needs, from a folder that `engines.write` made. Safe to use from many threads."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        spec = EncoderSpec.model_validate_json((folder / SPEC).read_bytes())
        self.encoder = OnnxEncoder(folder / MODEL, spec, threads=threads)
        self._index = faiss.read_index(str(folder / INDEX))
        self._projection = np.load(folder / PROJECTION)
        self._products: list[dict[str, Any]] = json.loads((folder / PRODUCTS).read_bytes())

    def encode(self, images: list[bytes]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the (n, dimension) vectors of pictures, encoded in one batch."""
        return self.encoder.finish(self.encoder.infer(np.stack([self.encoder.prepare(image) for image in images])))

    def hits(self, vectors: np.ndarray[Any, np.dtype[np.float32]], k: int) -> list[list[dict[str, Any]]]:
        """Return the k nearest products of each vector."""
        projected = vectors @ self._projection[:, :-1].T + self._projection[:, -1]
        faiss.normalize_L2(projected)
        scores, rows = self._index.search(projected, k)
        return [
            [{**self._products[row], "score": float(score)} for score, row in zip(*found, strict=True)]
            for found in zip(scores, rows, strict=True)
        ]
