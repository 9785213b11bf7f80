"""The text tower of an open_clip model: texts into the space of its pictures."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP
from open_clip.tokenizer import default_bpe
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import MODEL_FILE, scale_to_unit_length
from lookalike.tasks.encoders.export import PARITY, translate
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, BytePairSpec, TextSpec, encode_texts
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder

TOWERS = "image and text 1"
"""Part of the fingerprint of a model with two towers: a change to the text tower that changes vectors is a new one."""

SAMPLES = (
    "a red running shoe",
    "Blue ceramic teapot, hand-painted, 1.2 l",
    "Kinderfahrrad mit St\u00fctzr\u00e4dern",
    "\u7ea2\u8272\u8fd0\u52a8\u978b",
    "lamp",
    "the quick brown fox jumps over the lazy dog " * 10,
)
"""Texts that an export is compared on: short, long, and in other scripts."""

_MERGES = slice(1, 49152 - 256 - 2 + 1)  # of the file's lines, as the authors cut it
_PIECES = 49408
_LONGEST = 77


def reads_byte_pairs(config: Mapping[str, Any]) -> bool:
    """Tell whether a model's texts are cut by CLIP's own tokenizer; others use one that we do not have."""
    text = config.get("text_cfg", {})
    others = ("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs")
    return not any(text.get(name) for name in others) and text.get("vocab_size", _PIECES) == _PIECES


class OpenClipTexts:
    """Source of the text tower of an `openclip:` encoder, under the fingerprint of both towers."""

    def __init__(
        self, name: str, fingerprint: str, clip: nn.Module, config: Mapping[str, Any], licence: str | None
    ) -> None:
        self.name = name
        self._fingerprint = fingerprint
        self._length: int = config["text_cfg"].get("context_length", _LONGEST)
        self._padding: int = config["text_cfg"].get("pad_id", 0)
        self._tower = TextTower(clip)
        self._licence = licence

    def fingerprint(self) -> str:
        """Return the fingerprint of both towers."""
        return self._fingerprint

    def export(self, directory: Path) -> TextSpec:
        """Write `model.onnx` and `vocab.txt` into an existing directory and describe them.

        Raises `EncoderError` where ONNX Runtime's vectors differ from torch's.
        """
        self._tower.eval()
        tokens = torch.zeros((2, self._length), dtype=torch.int64)
        tokens[:, 1] = _PIECES - 1  # each text has an end
        with torch.inference_mode():
            dimension = self._tower(tokens).shape[-1]
        spec = TextSpec(
            name=self.name,
            fingerprint=self._fingerprint,
            dimension=dimension,
            tokenizer=BytePairSpec(padding=self._padding),
            most_tokens=self._length,
            padded=not self._tower.reads_any_length,
            pooling="none",
            mask_name=None,
            types_name=None,
            output_name="vectors",
            licence=self._licence,
        )
        shape = {0: torch.export.Dim("n")}
        if not spec.padded:
            shape[1] = torch.export.Dim("tokens", min=2, max=self._length)
        example = tokens if spec.padded else tokens[:, :-1]  # all tokens would be taken for the only length
        path = directory / MODEL_FILE
        translate(self._tower, example, path, spec.ids_name, spec.output_name, shape, self.name)
        (directory / VOCABULARY_FILE).write_bytes(read_merges_file())
        self._check_parity(path, spec)
        return spec

    def _check_parity(self, path: Path, spec: TextSpec) -> None:
        encoder = OnnxTextEncoder(path, read_merges_file(), spec, threads=1)
        found = encode_texts(encoder, list(SAMPLES))
        least = float((found * self._run_torch(encoder, spec)).sum(axis=1).min())
        if not least >= PARITY:
            raise EncoderError(
                f"{self.name}: the exported tower of texts differs from torch (cosine {least:.5f}, needs {PARITY})"
            )

    def _run_torch(self, encoder: OnnxTextEncoder, spec: TextSpec) -> NDArray[np.float32]:
        """Return what the whole tower, which has one length, makes of the samples."""
        tokens = torch.full((len(SAMPLES), spec.most_tokens), self._padding, dtype=torch.int64)
        for row, text in enumerate(SAMPLES):
            ids = encoder.prepare(text).ids
            tokens[row, : len(ids)] = torch.tensor(ids)
        with torch.inference_mode():
            return scale_to_unit_length(np.asarray(self._tower.clip.encode_text(tokens).numpy(), dtype=np.float32))


class TextTower(nn.Module):
    """The text tower of an open_clip model: int64 (n, tokens) to float32 (n, d).

    Where each token sees only those before it, and the vector is that of the last one, what fills up a text plays no
    part: then texts may be of any length, and a short one is computed ten times as fast.
    """

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip
        is_causal = isinstance(clip, CLIP) and clip.attn_mask is not None
        self.reads_any_length = is_causal and clip.text_pool_type == "argmax"

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool and project into the space that pictures and texts share."""
        vectors: Tensor
        if not self.reads_any_length:
            vectors = self.clip.encode_text(tokens)
            return vectors
        clip = self.clip
        length = tokens.shape[1]
        seen = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        states = clip.ln_final(clip.transformer(seen, attn_mask=clip.attn_mask[:length, :length]))
        last = states[torch.arange(tokens.shape[0]), tokens.argmax(dim=-1)]
        projection = clip.text_projection
        vectors = projection(last) if isinstance(projection, nn.Linear) else last @ projection
        return vectors


def read_merges_file() -> bytes:
    """Return the list of merges of CLIP's tokenizer, which comes with open_clip, one a line."""
    with gzip.open(default_bpe()) as file:
        lines = file.read().decode().split("\n")[_MERGES]
    return "".join(f"{line}\n" for line in lines).encode()
